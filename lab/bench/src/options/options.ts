/**
 * The command line of `npm run bench`. Every number that shapes a measurement is an option with a
 * default, and the result file records all of them.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { curveNames, curveSteps } from './curve-steps.ts'
import type { CurveName } from './curve-steps.ts'

export const scenarioNames = [
  'direct',
  'hot-room',
  'single',
  'idle',
  'storm',
  'history',
  'interest',
  'embedded-sends',
  'hostile',
  'start',
  'tokens',
  'bulk-users',
  'subjects',
  'outbox',
  'curves',
] as const
/**
 * Scenario that runs only when `--scenario` names it. It takes longer than all other scenarios
 * together, and writes files that are committed.
 */
const onlyWhenNamed: ScenarioName = 'curves'
export type ScenarioName = (typeof scenarioNames)[number]

export interface Options {
  readonly scenarios: readonly ScenarioName[]
  readonly rounds: number
  readonly warmUpMs: number
  readonly measureMs: number
  readonly drainMs: number
  readonly textChars: number
  readonly pairs: number
  readonly windows: readonly number[]
  readonly receivers: number
  readonly senders: number
  /** Number of servers in the scenario `hot-room`, for Chorus and for the compared systems. */
  readonly servers: number
  readonly embeddedPairs: number
  /** Number of silent connections in the scenario `idle`. */
  readonly connections: number
  /** Number of clients that reconnect at the same time in the scenario `storm`. */
  readonly clients: number
  readonly conversationsEach: number
  /** Messages of each conversation that are sent while all clients of the scenario `storm` are offline. */
  readonly missedEach: number
  /**
   * Maximum p99 latency of deliveries in the scenario `hot-room`. At a higher latency, the server
   * counts as overloaded.
   */
  readonly p99MaxMs: number
  /** Additional environment variables of the Chorus servers, to try a setting. */
  readonly serverEnvironment: Readonly<Record<string, string>>
  /** Curves to measure, with the x values of their points. */
  readonly curves: readonly { readonly name: CurveName; readonly steps: readonly number[] }[]
  readonly curveRounds: number
  /** Folder with the measured points (curves.json) and their plots. */
  readonly curvesDir: string
  /** Whether to draw the existing points again without measuring. */
  readonly isDrawing: boolean
  /**
   * Commands that the hostile account uses in the scenario `hostile`. An empty list means all
   * commands.
   */
  readonly attacks: readonly string[]
  readonly profileDir: string | undefined
  readonly out: string | undefined
}

export const usage = `npm run bench -- [options]
  --scenario NAME      ${scenarioNames.join(', ')};
                       may be repeated; all but curves (17 minutes) if left out
  --rounds N           rounds of every scenario, each target once per round (5)
  --seconds N          measured part of each run (5)
  --warm-up-seconds N  warm-up before the measured part (2)
  --pairs N            direct: pairs of users (400)
  --windows N,N        direct: unacknowledged messages per sender (1,8)
  --receivers N        hot-room: users in the room (500)
  --senders N          hot-room: number of users who send (20)
  --servers N          hot-room: servers, ours and the peers' (2)
  --embedded-pairs N   embedded-sends: pairs of users (40)
  --connections N      idle: connected users (10000)
  --clients N          storm: users who reconnect at once (5000)
  --conversations N    storm: conversations of each user (20)
  --missed N           storm: messages of each conversation that the clients miss (3)
  --attack COMMAND     hostile: command to attack with; may be repeated; all if left out
  --curve NAME         curves: ${curveNames.join(', ')}; may be repeated; all if left out.
                       NAME:N,N measures only these points and keeps the other points
  --curve-rounds N     curves: rounds of every point (1)
  --curves-dir DIR     curves: where points and plots are kept (docs/performance, and the page beside it)
  --draw               draws the plots and tables of the curves from stored points, without measuring
  --server-env N=V     extra environment variable of the Chorus servers, to try a setting; may be repeated
  --profile DIR        writes processor profiles of the Chorus servers (slows them: figures are not valid)
  --out FILE           path of the result (lab/bench/results/…json)`

/** Parses the command line. Throws an error with a one-line message that names the wrong option. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parse(args)
  const receivers = number('receivers', values.receivers, 1, 10_000)
  return {
    scenarios: values.scenario?.map(toScenario) ?? scenarioNames.filter((name) => name !== onlyWhenNamed),
    rounds: number('rounds', values.rounds, 1, 1_000),
    warmUpMs: number('warm-up-seconds', values['warm-up-seconds'], 0, 600) * 1_000,
    measureMs: number('seconds', values.seconds, 1, 600) * 1_000,
    drainMs: 10_000,
    textChars: 100,
    pairs: number('pairs', values.pairs, 1, 10_000),
    windows: values.windows.split(',').map((text) => number('windows', text, 1, 400)),
    receivers,
    senders: Math.min(receivers, number('senders', values.senders, 1, 1_000)),
    servers: number('servers', values.servers, 1, 8),
    clients: number('clients', values.clients, 10, 20_000),
    conversationsEach: number('conversations', values.conversations, 1, 1_000),
    missedEach: number('missed', values.missed, 0, 10_000),
    connections: number('connections', values.connections, 100, 50_000),
    attacks: values.attack,
    embeddedPairs: number('embedded-pairs', values['embedded-pairs'], 1, 1_000),
    p99MaxMs: 100,
    serverEnvironment: Object.fromEntries(values['server-env'].map(toVariable)),
    curves: (values.curve ?? [...curveNames]).map(toCurve),
    curveRounds: number('curve-rounds', values['curve-rounds'], 1, 20),
    curvesDir: values['curves-dir'],
    isDrawing: values.draw,
    profileDir: values.profile,
    out: values.out,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        scenario: { type: 'string', multiple: true },
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '5' },
        'warm-up-seconds': { type: 'string', default: '2' },
        pairs: { type: 'string', default: '400' },
        windows: { type: 'string', default: '1,8' },
        receivers: { type: 'string', default: '500' },
        senders: { type: 'string', default: '20' },
        servers: { type: 'string', default: '2' },
        connections: { type: 'string', default: '10000' },
        clients: { type: 'string', default: '5000' },
        conversations: { type: 'string', default: '20' },
        missed: { type: 'string', default: '3' },
        'embedded-pairs': { type: 'string', default: '40' },
        attack: { type: 'string', multiple: true, default: [] },
        curve: { type: 'string', multiple: true },
        'curve-rounds': { type: 'string', default: '1' },
        'curves-dir': {
          type: 'string',
          default: fileURLToPath(new URL('../../../../docs/performance', import.meta.url)),
        },
        draw: { type: 'boolean', default: false },
        'server-env': { type: 'string', multiple: true, default: [] },
        profile: { type: 'string' },
        out: { type: 'string' },
      },
    })
  } catch (error) {
    throw new Error(`unable to read --options; ${error instanceof Error ? error.message : String(error)}`)
  }
}

function toScenario(text: string): ScenarioName {
  const found = scenarioNames.find((name) => name === text)
  if (found === undefined)
    throw new Error(`unable to read --scenario ${text}; expected one of ${scenarioNames.join(', ')}`)
  return found
}

function toCurve(text: string): Options['curves'][number] {
  const [start = '', steps] = text.split(':', 2)
  const name = curveNames.find((curve) => curve === start)
  if (name === undefined)
    throw new Error(`unable to read --curve ${text}; expected one of ${curveNames.join(', ')}, and perhaps :N,N`)
  return { name, steps: steps?.split(',').map((step) => number('curve', step, 1, 2_000_000)) ?? curveSteps[name] }
}

function toVariable(text: string): [name: string, value: string] {
  const equals = text.indexOf('=')
  if (equals < 1) throw new Error(`unable to read --server-env ${text}; expected NAME=VALUE`)
  return [text.slice(0, equals), text.slice(equals + 1)]
}

function number(option: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max)
    throw new Error(`unable to read --${option} ${text}; expected a whole number from ${min} to ${max}`)
  return value
}
