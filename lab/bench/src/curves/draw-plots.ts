/** Defines the plots of the performance page: the curves and figures that each plot shows. */
import type { CostModel, Role } from '../model/cost-model.ts'
import { leastMeasured } from '../model/cost-model.ts'
import { drawPlot } from '../plots/draw-plot.ts'
import type { Panel, PlotPoint, Series } from '../plots/draw-plot.ts'
import type { TargetName } from '../targets/target.ts'
import type { CurveName } from '../options/curve-steps.ts'
import type { CurvePoint } from '../points/point.ts'

const looks = { chorus: 0, 'socket-io-redis-adapter': 1, 'one-channel': 2 } as const
const names = {
  chorus: 'Chorus: stores, orders, acknowledges, checks',
  'socket-io-redis-adapter': 'Socket.IO, Redis adapter: stores nothing',
  'one-channel': 'single channel: stores nothing',
} as const
type Shown = keyof typeof names

interface Choice {
  readonly curve: CurveName
  readonly variant?: CurvePoint['variant']
  readonly target?: TargetName
}

export function drawPlots(points: readonly CurvePoint[], model: CostModel | undefined): Map<string, string> {
  const lineOf = (
    { curve, variant = '', target = 'chorus' }: Choice,
    y: (point: CurvePoint) => number | undefined,
  ): PlotPoint[] =>
    points.flatMap((point) => {
      if (point.curve !== curve || point.variant !== variant || point.target !== target) return []
      const value = y(point)
      return value === undefined ? [] : [{ x: point.x, y: value }]
    })
  const linesOfAll = (choice: Choice, y: (point: CurvePoint) => number | undefined): Series[] =>
    (Object.keys(names) as Shown[]).map((target) => ({
      name: names[target],
      kind: 'line',
      look: looks[target],
      points: lineOf({ ...choice, target }, y),
    }))
  const ours = (name: string, look: Series['look'], linePoints: readonly PlotPoint[]): Series => ({
    name,
    kind: 'line',
    look,
    points: linePoints,
  })

  const plots: Record<string, readonly Panel[]> = {
    'receivers.svg': [
      {
        title: 'Cost of a delivery, by receivers in the room',
        x: { label: 'receivers in the room', kind: 'log' },
        y: { label: 'µs of processor per delivery, all servers', kind: 'log' },
        series: linesOfAll({ curve: 'receivers' }, serverUsPerDelivery),
      },
    ],
    'receivers-latency.svg': [
      {
        title: 'Delivery, p99, by receivers in the room',
        x: { label: 'receivers in the room', kind: 'log' },
        y: { label: 'ms', kind: 'log' },
        series: linesOfAll({ curve: 'receivers' }, ({ figures }) => figures.deliveryP99Ms),
      },
    ],
    'load.svg': [
      {
        title: 'Cost by load: a room of 500',
        x: { label: 'deliveries per second', kind: 'log' },
        y: { label: 'µs of processor per delivery, all servers', kind: 'log' },
        series: linesOfAll({ curve: 'load' }, serverUsPerDelivery),
      },
      {
        title: 'Changes in one write, by load',
        x: { label: 'deliveries per second', kind: 'log' },
        y: { label: 'changes', kind: 'linear' },
        series: [
          ours(
            'Chorus',
            0,
            lineOf({ curve: 'load' }, ({ work }) => work.changesPerWrite),
          ),
        ],
      },
    ],
    'rooms.svg': [
      {
        title: 'Cost of a message, by rooms',
        x: { label: 'rooms of 4 users', kind: 'log' },
        y: { label: 'µs of processor per message', kind: 'linear' },
        series: [
          ours('servers, with 4 deliveries', 0, lineOf({ curve: 'rooms' }, perMessage('server'))),
          ours('Postgres', 1, lineOf({ curve: 'rooms' }, perMessage('database'))),
          ours('Redis', 2, lineOf({ curve: 'rooms' }, perMessage('redis'))),
        ],
      },
      {
        title: 'Memory, by rooms',
        x: { label: 'rooms, each served by 2 servers', kind: 'log' },
        y: { label: 'MB, both servers, 800 users connected', kind: 'linear' },
        series: [
          ours(
            'servers',
            0,
            lineOf({ curve: 'rooms' }, ({ figures }) => figures.restMb),
          ),
        ],
      },
    ],
    'servers.svg': [
      {
        title: 'Bytes through Redis per message',
        x: { label: 'servers; at most two of them serve', kind: 'linear' },
        y: { label: 'bytes in and out', kind: 'linear' },
        series: linesOfAll({ curve: 'servers' }, ({ figures }) => figures.redisBytesPerMessage).map((series) => ({
          ...series,
          points: joinApart(points, series, ({ figures }) => figures.redisBytesPerMessage),
        })),
      },
      {
        title: 'Cost of a message, servers',
        x: { label: 'servers; at most two of them serve', kind: 'linear' },
        y: { label: 'µs of processor', kind: 'linear' },
        series: linesOfAll({ curve: 'servers' }, perMessage('server')).map((series) => ({
          ...series,
          points: joinApart(points, series, perMessage('server')),
        })),
      },
    ],
    'connections.svg': [
      {
        title: 'Idle connections: memory',
        x: { label: 'connections, in 5 rooms of 100 each', kind: 'log' },
        y: { label: 'MB, both servers', kind: 'linear' },
        series: [
          ours(
            'servers',
            0,
            lineOf({ curve: 'connections' }, ({ figures }) => figures.restMb),
          ),
        ],
      },
      {
        title: 'Idle connections: processor',
        x: { label: 'connections, in 5 rooms of 100 each', kind: 'log' },
        y: { label: 'thousandths of a core', kind: 'log' },
        series: [
          ours(
            'servers',
            0,
            lineOf({ curve: 'connections' }, ({ processorUs }) => processorUs.server / 1_000),
          ),
          ours(
            'Postgres',
            1,
            lineOf({ curve: 'connections' }, ({ processorUs }) => processorUs.database / 1_000),
          ),
          ours(
            'Redis',
            2,
            lineOf({ curve: 'connections' }, ({ processorUs }) => processorUs.redis / 1_000),
          ),
        ],
      },
    ],
    ...(model !== undefined && { 'model.svg': [modelPanel(model)] }),
  }
  const drawn = new Map<string, string>()
  for (const [name, panels] of Object.entries(plots)) {
    const shown = panels
      .map((panel) => ({ ...panel, series: panel.series.filter((series) => series.points.length > 0) }))
      .filter(({ series }) => series.length > 0)
    if (shown.length > 0) drawn.set(name, drawPlot(shown))
  }
  return drawn
}

export const serverUsPerDelivery = ({ processorUs, work }: CurvePoint): number | undefined =>
  work.deliveries === 0 ? undefined : processorUs.server / work.deliveries

const perMessage =
  (role: 'server' | 'database' | 'redis') =>
  ({ processorUs, work }: CurvePoint): number | undefined =>
    work.messages === 0 ? undefined : processorUs[role] / work.messages

/**
 * Returns the points of a plotted line for the variant `apart`, in which only two servers have
 * connections. With one or two servers all of them have connections, so those points belong to both
 * variants.
 */
function joinApart(
  points: readonly CurvePoint[],
  { look }: Series,
  y: (point: CurvePoint) => number | undefined,
): PlotPoint[] {
  return points
    .filter(({ curve, target, variant, work }) => {
      if (curve !== 'servers' || !(target in looks) || looks[target as Shown] !== look) return false
      return variant === 'apart' || work.servers <= 2
    })
    .flatMap((point) => {
      const value = y(point)
      return value === undefined ? [] : [{ x: point.x, y: value }]
    })
    .sort((a, b) => a.x - b.x)
}

const roleLooks: Readonly<Record<Exclude<Role, 'memory'>, { readonly name: string; readonly look: Series['look'] }>> = {
  server: { name: 'servers', look: 0 },
  database: { name: 'Postgres', look: 1 },
  redis: { name: 'Redis', look: 2 },
}

function modelPanel({ checked }: CostModel): Panel {
  return {
    title: 'Model against measurement: processor time per second',
    x: { label: 'measured, thousandths of a core', kind: 'log' },
    y: { label: 'predicted, thousandths of a core', kind: 'log' },
    hasDiagonal: true,
    series: Object.entries(roleLooks).flatMap(([role, { name, look }]) =>
      [false, true].map(
        (isLeftOut): Series => ({
          name: `${name}, ${isLeftOut ? 'left out of the fit' : 'fitted'}`,
          kind: 'dots',
          look,
          isHollow: isLeftOut,
          points: checked
            .filter(
              (each) => each.role === role && each.isLeftOut === isLeftOut && each.measured >= leastMeasured[each.role],
            )
            .map(({ measured, predicted }) => ({ x: measured / 1_000, y: predicted / 1_000 })),
        }),
      ),
    ),
  }
}
