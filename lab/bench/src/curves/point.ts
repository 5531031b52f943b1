/**
 * What the curves consist of, and the file that keeps them: every point names the run that measured it, so that some
 * points can be measured again without the others, and a plot can say what it shows.
 */
import type { Environment } from '../machine/environment.ts'
import { median } from '../report/statistics.ts'
import type { TargetName } from '../targets/target.ts'
import { curveNames } from './curve-steps.ts'
import type { CurveName } from './curve-steps.ts'

/** What was going on in a second, all servers together. */
export interface Work {
  readonly servers: number
  /** Servers that have connections; the others only are there. */
  readonly serving: number
  readonly connections: number
  /** Connections that are in a room in which somebody speaks. */
  readonly hearers: number
  /** A member of a room, connected: once for each of their rooms. */
  readonly subscriptions: number
  readonly rooms: number
  readonly messages: number
  readonly deliveries: number
  /** Changes that Chorus writes together to a connection; 1 for a peer. */
  readonly changesPerWrite: number
  /** Rows that Chorus stores in one transaction; 1 for a peer. */
  readonly rowsPerCommit: number
}

/** Microseconds of processor time in a second, all processes of the role together. 1 000 000 is one core. */
export interface ProcessorTime {
  readonly server: number
  /** 0 for who has none. */
  readonly database: number
  readonly redis: number
}

export interface CurvePoint {
  readonly curve: CurveName
  readonly target: TargetName
  /** `apart`: the servers beyond the second have no connections. */
  readonly variant: '' | 'apart'
  /** Receivers, deliveries a second, rooms, servers or connections. */
  readonly x: number
  readonly round: number
  /** Index into `runs`. */
  readonly run: number
  /** Why it is no figure. */
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
    /** Of all servers that have connections, at rest with everybody connected. */
    readonly restMb?: number
    /** Of the same processes before anybody connected. */
    readonly emptyMb?: number
    readonly redisBytesPerMessage?: number
    /** What a row costs each server that has nothing to do with it, and Postgres for each. */
    readonly sweptServerUs?: number
    readonly sweptDatabaseUs?: number
  }
}

export interface CurvesFile {
  readonly format: 1
  readonly runs: readonly Environment[]
  /** What the payload of one delivery comes to, with its WebSocket header: a message of 100 characters, alone. */
  readonly deliveryBytes: number
  readonly points: readonly CurvePoint[]
}

export const emptyCurves: CurvesFile = { format: 1, runs: [], deliveryBytes: 0, points: [] }

/** The new points in place of those at the same places; runs of which nothing is left go, too. */
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

/** The rounds of each place as one point: the median of each number, over the rounds that count. */
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
  if (first === undefined) throw new Error('unable to take a median; there is nothing')
  const keys = Object.keys(first) as (keyof Numbers)[]
  const medians: Partial<Record<keyof Numbers, number>> = {}
  for (const key of keys) {
    const values = records.map((record) => record[key]).filter((value) => typeof value === 'number')
    medians[key] = Math.round(median(values) * 1_000) / 1_000
  }
  return { ...first, ...medians }
}
