/**
 * Generates the Markdown text of docs/performance.md about how costs grow with the number of
 * receivers, rooms, servers and connections.
 */
import { curvePeers } from './start-curve-target.ts'
import { leastMeasured, roles, terms } from '../model/cost-model.ts'
import type { CheckedPoint, CostModel, Role } from '../model/cost-model.ts'
import { fitNonNegative } from '../model/least-squares.ts'
import { assumptions, findBottlenecks, project } from '../model/projection.ts'
import type { MeasuredBytes, Projection } from '../model/projection.ts'
import { short as shortFigure } from '../report/print-report.ts'
import { median } from '../report/statistics.ts'
import { serverUsPerDelivery } from './draw-plots.ts'
import type { CurvePoint, CurvesFile } from '../points/point.ts'

export interface SectionParts {
  readonly file: CurvesFile
  /** Measured points of the curves. The rounds of each point are merged to one. */
  readonly points: readonly CurvePoint[]
  readonly model: CostModel | undefined
  readonly plots: readonly string[]
}

export function writeSection({ file, points, model, plots }: SectionParts): string {
  const invalid = file.points.filter((point) => point.invalid !== undefined)
  const parts = [
    describeRuns(file),
    ...plots.map((plot) => `![${plotNames[plot] ?? plot}](performance/${plot})`),
    receiversTable(points),
    ...(invalid.length === 0
      ? []
      : [
          'Points without a valid figure:',
          invalid
            .map(
              ({ curve, x, variant, target, invalid: why }) =>
                `- ${[curve, short(x), variant, target].filter((part) => part !== '').join(', ')}: ${why}`,
            )
            .join('\n'),
        ]),
    ...(model === undefined ? ['There are not enough points yet for the model.'] : describeModel(file, points, model)),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

const plotNames: Readonly<Record<string, string>> = {
  'receivers.svg': 'Processor time per delivery by receivers in the room, Chorus and peers',
  'receivers-latency.svg': 'Latency of a delivery by receivers in the room, Chorus and peers',
  'load.svg': 'Processor time per delivery and changes per write, by load',
  'rooms.svg': 'Processor time per message and memory, by rooms',
  'servers.svg': 'Bytes through Redis and processor time per message, by servers, Chorus and peers',
  'connections.svg': 'Memory and processor time of idle connections',
  'model.svg': 'Predicted against measured processor time',
}

function describeRuns({ runs }: CurvesFile): string {
  const commits = runs.map(({ commit, changedFiles }) => (changedFiles > 0 ? `${commit} (with changed files)` : commit))
  const machines = runs.map(({ machine }) => `${machine.cores} × ${machine.cpu}, ${machine.memoryGb} GB`)
  const loads = runs.map(({ machine }) => machine.loadBefore)
  const dates = runs.map(({ at }) => at.slice(0, 10)).sort()
  const oneOrRange = (least: string, most: string): string => (least === most ? least : `${least} to ${most}`)
  return (
    `Measured ${oneOrRange(dates[0] ?? '', dates.at(-1) ?? '')} in ${runs.length} ${runs.length === 1 ? 'run' : 'runs'}: ` +
    `commit ${[...new Set(commits)].join(', ')}; ${[...new Set(machines)].join('; ')}; ` +
    `load before ${oneOrRange(String(Math.min(...loads)), String(Math.max(...loads)))}.`
  )
}

const peerNames = Object.keys(curvePeers) as (keyof typeof curvePeers)[]

function receiversTable(points: readonly CurvePoint[]): string {
  const curve = points.filter((point) => point.curve === 'receivers')
  const xs = [...new Set(curve.map(({ x }) => x))].sort((a, b) => a - b)
  if (xs.length === 0) return ''
  const at = (x: number, target: string): CurvePoint | undefined =>
    curve.find((point) => point.x === x && point.target === target)
  const cost = (point: CurvePoint | undefined): string => {
    const us = point && serverUsPerDelivery(point)
    return us === undefined ? '–' : `${short(us)} µs`
  }
  const p99 = (point: CurvePoint | undefined): string =>
    point?.figures.deliveryP99Ms === undefined ? '–' : `${short(point.figures.deliveryP99Ms)} ms`
  return table(
    ['receivers', 'messages/s', 'Chorus, per delivery', 'p99', ...peerNames.flatMap((name) => [name, 'p99'])],
    xs.map((x) => [
      short(x),
      short(at(x, 'chorus')?.work.messages ?? 0),
      cost(at(x, 'chorus')),
      p99(at(x, 'chorus')),
      ...peerNames.flatMap((name) => [cost(at(x, name)), p99(at(x, name))]),
    ]),
  )
}

const roleNames: Readonly<Record<Role, string>> = {
  server: 'servers',
  database: 'Postgres',
  redis: 'Redis',
  memory: 'memory of servers',
}

function describeModel(file: CurvesFile, points: readonly CurvePoint[], model: CostModel): string[] {
  const bytes = measuredBytes(file, points)
  const walls = findBottlenecks(model.prices, bytes)
  const clusters = [10, 100, 1_000].map((servers) => project(model.prices, bytes, servers))
  return [
    '### The model',
    'Prices fitted to the points by least squares, without negative prices; 0 means that the points show no cost. The price of ' +
      'the sweep is measured separately, on servers without connections; it includes that all their work costs more next to ' +
      'busy servers. All prices are for a moderate load, where nearly every message wakes every process again. Under heavy ' +
      'load they fall (see the plot by load), so the results below are an upper bound.',
    table(
      ['part', 'price', 'unit'],
      roles.flatMap((role) =>
        terms[role].map(({ name }, index) => [
          roleNames[role],
          `${short(model.prices[role][index] ?? 0)} ${role === 'memory' ? 'kB' : 'µs'}`,
          name,
        ]),
      ),
    ),
    'Error of the model at the points that were left out of the fit: the largest point of each curve (for memory the point next ' +
      'to it, because small amounts of memory disappear in the noise of the garbage collector), and every third of the other points. ' +
      `Points below ${leastMeasured.server / 10_000} % of a core for the servers, or ${leastMeasured.database / 10_000} % for Postgres and Redis, are too small to judge and not listed.`,
    errorTable(model.checked),
    '### On paper: a thousand servers, ten million connections',
    describeAssumptions(bytes),
    projectionTable(clusters),
    'Limits in the order in which a growing number of servers, with their connections, reaches them:',
    table(
      ['at this many servers', 'limit', 'remedy'],
      walls.map(({ atServers, what, moves }) => [
        Number.isFinite(atServers) ? short(atServers) : 'not reached by adding servers',
        what,
        moves,
      ]),
    ),
  ]
}

/**
 * Fits the bytes through Redis per message as a straight line over the number of servers. In the
 * points used, clients are connected to all servers.
 */
function measuredBytes({ deliveryBytes }: CurvesFile, points: readonly CurvePoint[]): MeasuredBytes {
  const ours = points.filter(({ target }) => target === 'chorus')
  const [redisMessage = 0, redisServing = 0] = fitNonNegative(
    ours.flatMap(({ curve, work, figures }) =>
      curve === 'servers' && figures.redisBytesPerMessage !== undefined
        ? [{ amounts: [1, work.serving], value: figures.redisBytesPerMessage, tolerance: figures.redisBytesPerMessage }]
        : [],
    ),
    2,
  )
  const empty = ours.flatMap(({ work, figures }) =>
    figures.emptyMb === undefined ? [] : [figures.emptyMb / work.servers],
  )
  return { delivery: deliveryBytes, redisMessage, redisServing, emptyServerMb: median(empty) }
}

function errorTable(checked: readonly CheckedPoint[]): string {
  const tested = checked.filter(({ isLeftOut, measured, role }) => isLeftOut && measured >= leastMeasured[role])
  const places = [...new Set(tested.map(({ point }) => point))]
  const error = (point: CurvePoint, role: Role): string => {
    const found = tested.find((each) => each.point === point && each.role === role)
    return found === undefined ? '' : percent(found)
  }
  const middle = (role: Role): string => {
    const all = tested.filter((each) => each.role === role).map((each) => Math.abs(errorOf(each)))
    return all.length === 0 ? '' : `**${Math.round(median(all) * 100)} %**`
  }
  return table(
    ['left out', ...roles.map((role) => roleNames[role])],
    [
      ...places.map((point) => [
        [point.curve, short(point.x), point.variant].filter((part) => part !== '').join(' '),
        ...roles.map((role) => error(point, role)),
      ]),
      ['**median of the absolute error**', ...roles.map(middle)],
    ],
  )
}

const errorOf = ({ measured, predicted }: CheckedPoint): number => (predicted - measured) / measured

function percent(checked: CheckedPoint): string {
  const rounded = Math.round(errorOf(checked) * 100)
  return `${rounded > 0 ? '+' : rounded < 0 ? '−' : ''}${Math.abs(rounded)} %`
}

function describeAssumptions(bytes: MeasuredBytes): string {
  const a = assumptions
  const sizes = a.sizes
    .map(({ share, members }) => `${Math.round(share * 100)} % in conversations of ${short(members)}`)
    .join(', ')
  return [
    'None of this is measured at that size. Assumptions:',
    '',
    `- ${short(a.connectionsPerServer)} connections per server, ${a.onlineShare * 100} % of all users connected at the busiest time, each with one connection, on any server, and in ${a.conversationsEach} conversations;`,
    `- ${a.messagesPerUserAndDay} messages per user and day, ${a.peakHourShare * 100} % of them in the busiest hour; ${sizes};`,
    `- ${a.readMarkersPerMessage} read marker stored for each message, at the price of a row;`,
    `- no batching: one row per transaction, one change per write, and a checkpoint after each;`,
    `- measured, not predicted by the model: ${short(bytes.delivery)} bytes per delivery plus ${a.wireOverheadBytes} bytes of overhead; through Redis ${short(bytes.redisMessage)} bytes per message and ${short(bytes.redisServing)} for each server that serves its room; ${short(bytes.emptyServerMb)} MB for a server that just started;`,
    `- left out: connects and disconnects, history, search, presence changes, typing, replicas, and the extra cost of a larger database.`,
  ].join('\n')
}

function projectionTable(clusters: readonly Projection[]): string {
  const row = (name: string, of: (projection: Projection) => string): string[] => [name, ...clusters.map(of)]
  return table(
    ['', ...clusters.map(({ servers }) => `${short(servers)} servers`)],
    [
      row('connections', ({ connections }) => short(connections)),
      row('users', ({ users }) => short(users)),
      row('messages per second', ({ work }) => short(work.messages)),
      row('receivers per message', ({ receiversPerMessage }) => short(receiversPerMessage)),
      row('servers per message', ({ servingPerMessage }) => short(servingPerMessage)),
      row('cores of servers', ({ serverCores }) => short(serverCores)),
      row('share of one server’s core', ({ serverShare }) => share(serverShare)),
      row('… used by the sweep', ({ sweepShareOfServer }) => share(sweepShareOfServer)),
      row('memory of one server', ({ memoryPerServerMb }) => `${short(memoryPerServerMb)} MB`),
      row('network of one server, out', ({ bytesPerServerAndSecond }) => `${megabytes(bytesPerServerAndSecond)}/s`),
      row('rows per second', ({ databaseRowsPerSecond }) => short(databaseRowsPerSecond)),
      row('cores of Postgres', ({ databaseCores }) => short(databaseCores)),
      row('… used by the sweeps', ({ databaseSweepCores }) => short(databaseSweepCores)),
      row(`Postgres partitions (primaries of ${assumptions.databaseCores} cores)`, ({ primaries }) => short(primaries)),
      row('connections to Postgres', ({ databaseConnections }) => short(databaseConnections)),
      row('messages delivered by Redis per second', ({ redisDeliveredPerSecond }) => short(redisDeliveredPerSecond)),
      row('cores of Redis', ({ redisCores }) => short(redisCores)),
      row('Redis shards', ({ redisShards }) => short(redisShards)),
      row('bytes through Redis per message', ({ redisBytesPerMessage }) => short(redisBytesPerMessage)),
      row('through Redis', ({ redisBytesPerSecond }) => `${megabytes(redisBytesPerSecond)}/s`),
    ],
  )
}

/** Formats a number with few digits. Whole numbers below 100 stay unchanged. */
const short = (value: number): string => (Number.isInteger(value) && value < 100 ? String(value) : shortFigure(value))
const share = (value: number): string => `${short(value * 100)} %`
const megabytes = (bytes: number): string => `${short(bytes / 1_000_000)} MB`

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
