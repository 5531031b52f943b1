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

/** Value of a point that a line shows; undefined if the point was not measured for it. */
type Value = (point: CurvePoint) => number | undefined

/** Draws the plots that have points. Returns the content of each SVG file by name. */
export function drawPlots(points: readonly CurvePoint[], model: CostModel | undefined): Map<string, string> {
  const plots: Record<string, readonly Panel[]> = {
    'receivers.svg': [receiverCostPanel(points)],
    'receivers-latency.svg': [receiverLatencyPanel(points)],
    'load.svg': loadPanels(points),
    'rooms.svg': roomPanels(points),
    'servers.svg': serverPanels(points),
    'connections.svg': connectionPanels(points),
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

function receiverCostPanel(points: readonly CurvePoint[]): Panel {
  return {
    title: 'Cost of a delivery, by receivers in the room',
    x: { label: 'receivers in the room', kind: 'log' },
    y: { label: 'µs of processor per delivery, all servers', kind: 'log' },
    series: linesOfTargets(points, 'receivers', serverUsPerDelivery),
  }
}

function receiverLatencyPanel(points: readonly CurvePoint[]): Panel {
  return {
    title: 'Delivery, p99, by receivers in the room',
    x: { label: 'receivers in the room', kind: 'log' },
    y: { label: 'ms', kind: 'log' },
    series: linesOfTargets(points, 'receivers', ({ figures }) => figures.deliveryP99Ms),
  }
}

function loadPanels(points: readonly CurvePoint[]): Panel[] {
  return [
    {
      title: 'Cost by load: a room of 500',
      x: { label: 'deliveries per second', kind: 'log' },
      y: { label: 'µs of processor per delivery, all servers', kind: 'log' },
      series: linesOfTargets(points, 'load', serverUsPerDelivery),
    },
    {
      title: 'Changes in one write, by load',
      x: { label: 'deliveries per second', kind: 'log' },
      y: { label: 'changes', kind: 'linear' },
      series: [chorusLine(points, 'load', 'Chorus', 0, ({ work }) => work.changesPerWrite)],
    },
  ]
}

function roomPanels(points: readonly CurvePoint[]): Panel[] {
  return [
    {
      title: 'Cost of a message, by rooms',
      x: { label: 'rooms of 4 users', kind: 'log' },
      y: { label: 'µs of processor per message', kind: 'linear' },
      series: [
        chorusLine(points, 'rooms', 'servers, with 4 deliveries', 0, perMessage('server')),
        chorusLine(points, 'rooms', 'Postgres', 1, perMessage('database')),
        chorusLine(points, 'rooms', 'Redis', 2, perMessage('redis')),
      ],
    },
    {
      title: 'Memory, by rooms',
      x: { label: 'rooms, each served by 2 servers', kind: 'log' },
      y: { label: 'MB, both servers, 800 users connected', kind: 'linear' },
      series: [chorusLine(points, 'rooms', 'servers', 0, ({ figures }) => figures.restMb)],
    },
  ]
}

function serverPanels(points: readonly CurvePoint[]): Panel[] {
  const lines = (y: Value): Series[] =>
    linesOfTargets(points, 'servers', y).map((series) => ({
      ...series,
      points: joinApart(points, series, y),
    }))
  return [
    {
      title: 'Bytes through Redis per message',
      x: { label: 'servers; at most two of them serve', kind: 'linear' },
      y: { label: 'bytes in and out', kind: 'linear' },
      series: lines(({ figures }) => figures.redisBytesPerMessage),
    },
    {
      title: 'Cost of a message, servers',
      x: { label: 'servers; at most two of them serve', kind: 'linear' },
      y: { label: 'µs of processor', kind: 'linear' },
      series: lines(perMessage('server')),
    },
  ]
}

function connectionPanels(points: readonly CurvePoint[]): Panel[] {
  return [
    {
      title: 'Idle connections: memory',
      x: { label: 'connections, in 5 rooms of 100 each', kind: 'log' },
      y: { label: 'MB, both servers', kind: 'linear' },
      series: [chorusLine(points, 'connections', 'servers', 0, ({ figures }) => figures.restMb)],
    },
    {
      title: 'Idle connections: processor',
      x: { label: 'connections, in 5 rooms of 100 each', kind: 'log' },
      y: { label: 'thousandths of a core', kind: 'log' },
      series: [
        chorusLine(points, 'connections', 'servers', 0, ({ processorUs }) => processorUs.server / 1_000),
        chorusLine(points, 'connections', 'Postgres', 1, ({ processorUs }) => processorUs.database / 1_000),
        chorusLine(points, 'connections', 'Redis', 2, ({ processorUs }) => processorUs.redis / 1_000),
      ],
    },
  ]
}

function pointsOf(points: readonly CurvePoint[], curve: CurveName, target: TargetName, y: Value): PlotPoint[] {
  return points.flatMap((point) => {
    if (point.curve !== curve || point.variant !== '' || point.target !== target) return []
    const value = y(point)
    return value === undefined ? [] : [{ x: point.x, y: value }]
  })
}

/** Returns the plotted lines of a curve, one for each measured system. */
function linesOfTargets(points: readonly CurvePoint[], curve: CurveName, y: Value): Series[] {
  return (Object.keys(names) as Shown[]).map((target) => ({
    name: names[target],
    kind: 'line',
    look: looks[target],
    points: pointsOf(points, curve, target, y),
  }))
}

/** Returns one plotted line of a curve, from the points of Chorus only. */
function chorusLine(
  points: readonly CurvePoint[],
  curve: CurveName,
  name: string,
  look: Series['look'],
  y: Value,
): Series {
  return { name, kind: 'line', look, points: pointsOf(points, curve, 'chorus', y) }
}

export const serverUsPerDelivery = ({ processorUs, work }: CurvePoint): number | undefined =>
  work.deliveries === 0 ? undefined : processorUs.server / work.deliveries

const perMessage =
  (role: 'server' | 'database' | 'redis') =>
  ({ processorUs, work }: CurvePoint): number | undefined =>
    work.messages === 0 ? undefined : processorUs[role] / work.messages

/**
 * Returns the plotted line of the variant `apart`, in which clients connect to two servers only. The
 * points for one and two servers are measured once, without this variant, and belong to this line,
 * too: with so few servers, clients connect to all of them anyway.
 */
function joinApart(points: readonly CurvePoint[], { look }: Series, y: Value): PlotPoint[] {
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
