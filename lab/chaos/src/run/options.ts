/**
 * The command line of `npm run chaos`. Every number that shapes a run is an option with a default,
 * and the history records all of them.
 */
import { parseArgs } from 'node:util'

export interface Options {
  readonly seed: number
  readonly faults: number
  readonly servers: number
  readonly clients: number
  /** Messages per second while faults happen. */
  readonly rate: number
  readonly drivers: number
  /**
   * Minimum number of acknowledged messages. If there are fewer after the last fault, the run
   * continues to send.
   */
  readonly messages: number
  /** If true, faults last as long as planned, and rare faults happen too. */
  readonly isLong: boolean
  readonly mutant: string | undefined
  readonly isAllMutants: boolean
  readonly peer: string | undefined
  /** Kinds of faults to use, given by the beginning of their names. */
  readonly only: readonly string[]
  /**
   * Time that the checker adds to every maximum time, because the chaos test and the tested servers
   * share one machine.
   */
  readonly slackMs: number
  /** Whether to keep the history of a run that broke no rule. */
  readonly isKeeping: boolean
  readonly scenario: 'faults' | 'storm' | 'slow'
  readonly out: string | undefined
}

export const usage = `npm run chaos -- [options]
  --seed N          seed of the schedule and the workload (1)
  --faults N        faults to inject (20)
  --messages N      minimum number of acknowledged messages; the run sends until it is reached (10000)
  --rate N          messages per second during the faults (150)
  --clients N       clients of all kinds (60)
  --servers N       servers (3)
  --drivers N       processes that run the clients (2)
  --long            full durations of the faults, and also the slow kinds
  --only F1,F4      only these kinds of faults
  --slack-ms N      added to every time bound, for a busy machine (1000)
  --mutant NAME     a server or SDK with one built-in error, which the checker must find
  --mutants         every mutant, each in a short run; fails when one is not found
  --peer NAME       socket-io: the same run against plain Socket.IO with its Redis adapter
  --scenario NAME   faults, storm (2 000 clients cut off at once) or slow (100 clients that do not read)
  --keep            keep the history even if all rules were kept
  --out DIR         folder for history and report (lab/chaos/results/…)`

/** Parses the command line. Throws an error with a one-line message that names the wrong option. */
export function readOptions(args: readonly string[]): Options {
  const values = parse(args)
  const scenario = values.scenario
  if (scenario !== 'faults' && scenario !== 'storm' && scenario !== 'slow')
    throw new Error(`unable to read --scenario ${scenario}; expected faults, storm or slow`)
  if (values.peer !== undefined && values.peer !== 'socket-io')
    throw new Error(`unable to read --peer ${values.peer}; expected socket-io`)
  return {
    seed: number('seed', values.seed, 0, 2 ** 31),
    faults: number('faults', values.faults, 0, 100_000),
    servers: number('servers', values.servers, 2, 16),
    clients: number('clients', values.clients, 4, 5_000),
    rate: number('rate', values.rate, 1, 10_000),
    drivers: number('drivers', values.drivers, 1, 16),
    messages: number('messages', values.messages, 0, 10_000_000),
    isLong: values.long,
    mutant: values.mutant,
    isAllMutants: values.mutants,
    peer: values.peer,
    only: values.only?.split(',').map((kind) => kind.trim().toUpperCase()) ?? [],
    slackMs: number('slack-ms', values['slack-ms'], 0, 60_000),
    isKeeping: values.keep,
    scenario,
    out: values.out,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string', default: '1' },
        faults: { type: 'string', default: '20' },
        messages: { type: 'string', default: '10000' },
        rate: { type: 'string', default: '150' },
        clients: { type: 'string', default: '60' },
        servers: { type: 'string', default: '3' },
        drivers: { type: 'string', default: '2' },
        long: { type: 'boolean', default: false },
        only: { type: 'string' },
        'slack-ms': { type: 'string', default: '1000' },
        mutant: { type: 'string' },
        mutants: { type: 'boolean', default: false },
        peer: { type: 'string' },
        scenario: { type: 'string', default: 'faults' },
        keep: { type: 'boolean', default: false },
        out: { type: 'string' },
      },
    }).values
  } catch (error) {
    throw new Error(`unable to read --options; ${error instanceof Error ? error.message : String(error)}`)
  }
}

function number(option: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max)
    throw new Error(`unable to read --${option} ${text}; expected a whole number from ${min} to ${max}`)
  return value
}
