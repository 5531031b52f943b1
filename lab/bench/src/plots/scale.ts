/** Scales of a plot's axis: the position of each value, and the values that get a label. */
export type ScaleKind = 'log' | 'linear'

export interface Scale {
  readonly ticks: readonly number[]
  /** Returns the position of a value along the axis, from 0 to 1. */
  place(value: number): number
}

/**
 * Returns a scale that covers all values. A linear scale begins at 0. On a logarithmic scale,
 * values that are not above 0 are placed at the lower end.
 */
export function scaleOf(kind: ScaleKind, values: readonly number[]): Scale {
  return kind === 'log' ? logScale(values) : linearScale(values)
}

const decadesForSteps = 2

function logScale(values: readonly number[]): Scale {
  const positive = values.filter((value) => value > 0)
  const least = positive.length === 0 ? 1 : Math.min(...positive)
  const most = positive.length === 0 ? 10 : Math.max(...positive)
  const decades = Math.log10(most) - Math.log10(least)
  // An axis of few decades gets ticks at 1, 2 and 5 of each decade. An axis of many decades gets
  // one tick per decade, so that labels do not overlap.
  const steps = decades > decadesForSteps ? [1] : [1, 2, 5]
  const all: number[] = []
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)) + 1; power++)
    for (const step of steps) all.push(Number(`${step}e${power}`))
  const from = all.findLast((tick) => tick <= least) ?? least
  const to = all.find((tick) => tick >= most && tick > from) ?? most
  const span = Math.log10(to) - Math.log10(from)
  return {
    ticks: all.filter((tick) => tick >= from && tick <= to),
    place: (value) => (Math.log10(Math.max(value, from)) - Math.log10(from)) / span,
  }
}

const linearTicksMax = 6

function linearScale(values: readonly number[]): Scale {
  const most = Math.max(...values, 0)
  const rough = (most === 0 ? 1 : most) / linearTicksMax
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power
  const count = Math.max(1, Math.ceil(most / step - 1e-9))
  return {
    ticks: Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12))),
    place: (value) => value / (count * step),
  }
}

/** Returns a short axis label of a number: `0.5`, `300`, `10k`, `2M`. */
export function nameTick(value: number): string {
  if (value >= 1_000_000) return `${trim(value / 1_000_000)}M`
  if (value >= 10_000) return `${trim(value / 1_000)}k`
  return trim(value)
}

const trim = (value: number): string => String(Number(value.toPrecision(3)))
