/**
 * Draws plots as SVG: lines or dots on logarithmic or linear axes, in one panel or in two panels
 * side by side.
 *
 * Guarantee: the same data gives the same bytes. Plots are readable at the width of a GitHub page,
 * in light and dark mode (the SVG uses the browser's preference), and without colours, because each
 * series has its own shape.
 */
import { nameTick, scaleOf } from './scale.ts'
import type { Scale, ScaleKind } from './scale.ts'

export interface PlotPoint {
  readonly x: number
  readonly y: number
}

export interface Series {
  readonly name: string
  readonly points: readonly PlotPoint[]
  /** Style of the series. The points of `dots` are not joined by lines. */
  readonly kind: 'line' | 'dots'
  /** Colour and shape of the series. Series of the same look in two panels show the same thing. */
  readonly look: 0 | 1 | 2 | 3
  /** Whether the markers of the points are drawn as outlines. */
  readonly isHollow?: boolean
}

export interface Axis {
  /** Label of the axis, with its unit. */
  readonly label: string
  readonly kind: ScaleKind
}

export interface Panel {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly Series[]
  /** Whether to draw the line y = x from corner to corner. If true, both axes share one scale. */
  readonly hasDiagonal?: boolean
}

const size = { width: 760, height: 400 } as const
const margin = { left: 62, right: 22, top: 40, bottom: 50 } as const
const legendLine = 18
const markRadius = 4

const style = `
  text { font: 12px -apple-system, BlinkMacSystemFont, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 13px }
  .paper { fill: #ffffff }
  .grid { stroke: #d8dee4 } .axis { stroke: #656d76 } .diagonal { stroke: #8c959f; stroke-dasharray: 5 4 }
  .line { fill: none; stroke-width: 2 }
  .s0 { stroke: #0550ae; fill: #0550ae } .s1 { stroke: #bc4c00; fill: #bc4c00 }
  .s2 { stroke: #1a7f37; fill: #1a7f37 } .s3 { stroke: #8250df; fill: #8250df }
  .line.s0, .line.s1, .line.s2, .line.s3 { fill: none }
  .hollow { fill: #ffffff; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .paper { fill: #0d1117 }
    .grid { stroke: #30363d } .axis { stroke: #8d96a0 } .diagonal { stroke: #6e7681 }
    .s0 { stroke: #58a6ff; fill: #58a6ff } .s1 { stroke: #f0883e; fill: #f0883e }
    .s2 { stroke: #3fb950; fill: #3fb950 } .s3 { stroke: #bc8cff; fill: #bc8cff }
    .line.s0, .line.s1, .line.s2, .line.s3 { fill: none }
    .hollow { fill: #0d1117 }
  }
`

export function drawPlot(panels: readonly Panel[]): string {
  const legendLines = Math.max(...panels.map(({ series }) => series.length))
  const height = size.height + legendLines * legendLine
  const panelWidth = size.width / panels.length
  const name = panels.map(({ title }) => title).join('; ')
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${height}" width="${size.width}" height="${height}" role="img" aria-label="${escape(name)}">`,
    `<title>${escape(name)}</title>`,
    `<style>${style}</style>`,
    `<rect class="paper" width="${size.width}" height="${height}"/>`,
    ...panels.map(
      (panel, index) => `<g transform="translate(${n(index * panelWidth)} 0)">\n${drawPanel(panel, panelWidth)}\n</g>`,
    ),
    '</svg>\n',
  ].join('\n')
}

function drawPanel(panel: Panel, width: number): string {
  const { title, x, y, series, hasDiagonal = false } = panel
  const points = series.flatMap((each) => each.points)
  const xs = points.map((point) => point.x)
  const ys = points.map((point) => point.y)
  const both = [...xs, ...ys]
  const xScale = scaleOf(x.kind, hasDiagonal ? both : xs)
  const yScale = scaleOf(y.kind, hasDiagonal ? both : ys)
  const inner = { width: width - margin.left - margin.right, height: size.height - margin.top - margin.bottom }
  const bottom = margin.top + inner.height
  const right = margin.left + inner.width
  const toX = (value: number): number => margin.left + xScale.place(value) * inner.width
  const toY = (value: number): number => bottom - yScale.place(value) * inner.height
  return [
    `<text class="title" x="${margin.left}" y="20">${escape(title)}</text>`,
    ...horizontals(yScale, toY, right),
    ...verticals(xScale, toX, bottom),
    `<path class="axis" fill="none" d="M${margin.left} ${margin.top}V${bottom}H${n(right)}"/>`,
    `<text x="${n(margin.left + inner.width / 2)}" y="${bottom + 38}" text-anchor="middle">${escape(x.label)}</text>`,
    `<text transform="translate(14 ${n(margin.top + inner.height / 2)}) rotate(-90)" text-anchor="middle">${escape(y.label)}</text>`,
    ...(hasDiagonal ? [`<path class="diagonal" d="M${margin.left} ${bottom}L${n(right)} ${margin.top}"/>`] : []),
    ...series.flatMap((each) => drawSeries(each, toX, toY)),
    ...series.flatMap((each, index) => drawLegend(each, size.height + index * legendLine)),
  ].join('\n')
}

const horizontals = ({ ticks }: Scale, toY: (value: number) => number, right: number): string[] =>
  ticks.flatMap((tick) => [
    `<path class="grid" d="M${margin.left} ${n(toY(tick))}H${n(right)}"/>`,
    `<text x="${margin.left - 7}" y="${n(toY(tick) + 4)}" text-anchor="end">${nameTick(tick)}</text>`,
  ])

const verticals = ({ ticks }: Scale, toX: (value: number) => number, bottom: number): string[] =>
  ticks.flatMap((tick) => [
    `<path class="grid" d="M${n(toX(tick))} ${margin.top}V${bottom}"/>`,
    `<text x="${n(toX(tick))}" y="${bottom + 18}" text-anchor="middle">${nameTick(tick)}</text>`,
  ])

function drawSeries(
  { points, kind, look, isHollow }: Series,
  toX: (value: number) => number,
  toY: (value: number) => number,
): string[] {
  const at = points.map(({ x, y }) => ({ x: toX(x), y: toY(y) }))
  const line = at.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${n(x)} ${n(y)}`).join('')
  return [
    ...(kind === 'line' && at.length > 1 ? [`<path class="line s${look}" d="${line}"/>`] : []),
    ...at.map(({ x, y }) => drawMark(look, x, y, isHollow)),
  ]
}

function drawMark(look: Series['look'], x: number, y: number, isHollow = false): string {
  const r = markRadius
  const attributes = `class="s${look}${isHollow ? ' hollow' : ''}"`
  switch (look) {
    case 0:
      return `<circle ${attributes} cx="${n(x)}" cy="${n(y)}" r="${r}"/>`
    case 1:
      return `<rect ${attributes} x="${n(x - r)}" y="${n(y - r)}" width="${2 * r}" height="${2 * r}"/>`
    case 2:
      return `<path ${attributes} d="M${n(x)} ${n(y - r - 1)}L${n(x + r + 1)} ${n(y + r)}H${n(x - r - 1)}Z"/>`
    case 3:
      return `<path ${attributes} d="M${n(x)} ${n(y - r - 1)}L${n(x + r + 1)} ${n(y)}L${n(x)} ${n(y + r + 1)}L${n(x - r - 1)} ${n(y)}Z"/>`
  }
}

function drawLegend({ name, kind, look, isHollow }: Series, y: number): string[] {
  const x = margin.left
  return [
    ...(kind === 'line' ? [`<path class="line s${look}" d="M${x} ${y}H${x + 24}"/>`] : []),
    drawMark(look, x + 12, y, isHollow),
    `<text x="${x + 32}" y="${y + 4}">${escape(name)}</text>`,
  ]
}

/**
 * Formats a coordinate, rounded to hundredths of a pixel. That is precise enough and gives equal
 * text on all machines.
 */
const n = (value: number): string => String(Math.round(value * 100) / 100)

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
