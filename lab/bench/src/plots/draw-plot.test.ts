import { describe, expect, it } from 'vitest'
import { drawPlot } from './draw-plot.ts'
import type { Panel } from './draw-plot.ts'

const panel: Panel = {
  title: 'Cost & more',
  x: { label: 'receivers', kind: 'log' },
  y: { label: 'µs', kind: 'linear' },
  series: [
    {
      name: 'ours <here>',
      kind: 'line',
      look: 0,
      points: [
        { x: 10, y: 5 },
        { x: 10_000, y: 10 },
      ],
    },
    { name: 'left out', kind: 'dots', look: 1, isHollow: true, points: [{ x: 100, y: 0 }] },
  ],
}

describe('the plot drawing', () => {
  it('a plot places its points by their values', () => {
    const svg = drawPlot([panel])
    // The plot area is 676 pixels wide from x = 62, and 310 pixels high down to y = 350.
    expect(svg).toContain('<path class="line s0" d="M62 195L738 40"/>')
    expect(svg).toContain('<rect class="s1 hollow" x="283.33" y="346"')
  })

  it('a plot shows its title, axis labels and series names, escaped for XML', () => {
    const svg = drawPlot([panel])
    for (const text of ['Cost &amp; more', 'receivers', 'µs', 'ours &lt;here&gt;', 'left out'])
      expect(svg).toContain(text)
    expect(svg).toContain('<title>')
    expect(svg).toContain('prefers-color-scheme: dark')
  })

  it('the same data gives the same plot, and two panels are side by side', () => {
    expect(drawPlot([panel])).toBe(drawPlot([panel]))
    expect(drawPlot([panel, panel])).toContain('translate(380 0)')
  })

  it('a plot’s diagonal runs from corner to corner on a shared scale', () => {
    const dots = { ...panel, hasDiagonal: true, y: { label: 'µs', kind: 'log' } } as const
    expect(drawPlot([dots])).toContain('<path class="diagonal" d="M62 350L738 40"/>')
  })
})
