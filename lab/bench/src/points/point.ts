/**
 * The measured points of the benchmark's curves, as curves.json stores them. Every point names the
 * run that measured it. So some points can be measured again without the others, and a plot can
 * name its sources.
 */
import type { Environment } from '../machine/environment.ts'
import { median } from '../report/statistics.ts'
import type { TargetName } from '../targets/target.ts'
import { curveNames } from '../options/curve-steps.ts'
import type { CurveName } from '../options/curve-steps.ts'

/** Amount of work that all servers together do per second at one point. */
export interface Work {
  readonly servers: number
  /** Number of servers that clients connect to. The other servers run without connections. */
  readonly serving: number
  readonly connections: number
  /** Number of connections that receive messages. */
  readonly hearers: number
  /** Number of memberships of connected clients: pairs of a client and a room. */
  readonly subscriptions: number
  readonly rooms: number
  readonly messages: number
  readonly deliveries: number
  /**
   * Average number of changes that Chorus writes to a connection at once; 1 for other chat servers.
   */
  readonly changesPerWrite: number
  /** Average number of rows that Chorus stores in one transaction; 1 for other chat servers. */
  readonly rowsPerCommit: number
}

/**
 * Processor time used per second by all processes of each role together, in microseconds. 1 000 000
 * is one core.
 */
export interface ProcessorTime {
  readonly server: number
  /** Processor time of Postgres; 0 for a system without a database. */
  readonly database: number
  readonly redis: number
}

export interface CurvePoint {
  readonly curve: CurveName
  readonly target: TargetName
  /**
   * Variant of the measurement. `apart`: clients connect to two servers only, and the other servers
   * have no connections.
   */
  readonly variant: '' | 'apart'
  /**
   * Position on the x axis: number of receivers, deliveries per second, rooms, servers or
   * connections, depending on the curve.
   */
  readonly x: number
  readonly round: number
  /** Index in `runs` of the run that measured this point. */
  readonly run: number
  /** Reason why this measurement is not valid. */
  readonly invalid?: string | undefined
  readonly work: Work
  readonly processorUs: ProcessorTime
  readonly figures: {
    readonly generatorCpu?: number
    readonly ackP50Ms?: number
    readonly ackP99Ms?: number
    readonly deliveryP50Ms?: number
    readonly deliveryP99Ms?: number
    readonly lastDeliveryP99Ms?: number
    /** Memory of all servers while all clients are connected and silent, in megabytes. */
    readonly restMb?: number
    /** Memory of the same servers before the first client connected, in megabytes. */
    readonly emptyMb?: number
    readonly redisBytesPerMessage?: number
    /**
     * Processor time, in microseconds, for sweeping one row (reading a row that another server
     * stored): on each server without connections, and on Postgres per such server.
     */
    readonly sweptServerUs?: number
    readonly sweptDatabaseUs?: number
  }
}

export interface CurvesFile {
  readonly format: 1
  readonly runs: readonly Environment[]
  /** Size in bytes of the WebSocket frame that delivers one message of 100 characters alone. */
  readonly deliveryBytes: number
  readonly points: readonly CurvePoint[]
}

export const emptyCurves: CurvesFile = { format: 1, runs: [], deliveryBytes: 0, points: [] }

/**
 * Replaces the points that were measured again, and adds the new ones. Removes runs that have no
 * points left.
 */
export function replacePoints(
  file: CurvesFile,
  {
    environment,
    points,
    deliveryBytes,
  }: { environment: Environment; points: readonly CurvePoint[]; deliveryBytes: number },
): CurvesFile {
  const place = ({ curve, target, variant, x }: CurvePoint): string => [curve, target, variant, x].join(' ')
  const taken = new Set(points.map(place))
  const kept = file.points.filter((point) => !taken.has(place(point)))
  const keptRuns = file.runs.flatMap((_, run) => (kept.some((point) => point.run === run) ? [run] : []))
  return {
    format: 1,
    runs: [...keptRuns.flatMap((run) => file.runs[run] ?? []), environment],
    deliveryBytes: deliveryBytes === 0 ? file.deliveryBytes : deliveryBytes,
    points: [
      ...kept.map((point) => ({ ...point, run: keptRuns.indexOf(point.run) })),
      ...points.map((point) => ({ ...point, run: keptRuns.length })),
    ].sort(inOrder),
  }
}

function inOrder(a: CurvePoint, b: CurvePoint): number {
  return (
    curveNames.indexOf(a.curve) - curveNames.indexOf(b.curve) ||
    a.target.localeCompare(b.target, 'en') ||
    a.variant.localeCompare(b.variant, 'en') ||
    a.x - b.x ||
    a.round - b.round
  )
}

/**
 * Merges all rounds of the same point to one point, which has the median of each number over the
 * valid rounds.
 */
export function mergeRounds(points: readonly CurvePoint[]): CurvePoint[] {
  const places = new Map<string, CurvePoint[]>()
  for (const point of points) {
    if (point.invalid !== undefined) continue
    const place = [point.curve, point.target, point.variant, point.x].join(' ')
    places.set(place, [...(places.get(place) ?? []), point])
  }
  return [...places.values()].flatMap((rounds) => {
    const [first] = rounds
    if (first === undefined) return []
    return [
      {
        ...first,
        work: mediansOf(rounds.map(({ work }) => work)),
        processorUs: mediansOf(rounds.map(({ processorUs }) => processorUs)),
        figures: mediansOf(rounds.map(({ figures }) => figures)),
      },
    ]
  })
}

function mediansOf<Numbers extends object>(records: readonly Numbers[]): Numbers {
  const [first] = records
  if (first === undefined) throw new Error('unable to take a median; there are no values')
  const keys = Object.keys(first) as (keyof Numbers)[]
  const medians: Partial<Record<keyof Numbers, number>> = {}
  for (const key of keys) {
    const values = records.map((record) => record[key]).filter((value) => typeof value === 'number')
    medians[key] = Math.round(median(values) * 1_000) / 1_000
  }
  return { ...first, ...medians }
}
