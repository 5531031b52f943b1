/**
 * Computes the periods in which faults were active. Overlapping faults form one window, which ends
 * when the last of them has healed.
 */
import type { FaultEvent, Micros } from '../history/index.ts'
import type { History } from './history.ts'

export interface FaultSpan {
  readonly id: number
  readonly kind: string
  readonly name: string
  readonly affects: FaultEvent['affects']
  readonly boundMs: number
  readonly startT: Micros
  /** Time at which the fault was healed; Infinity if it never was. */
  readonly healT: Micros
}

/** A period with overlapping faults, which are treated as one fault. */
export interface FaultWindow {
  readonly startT: Micros
  readonly healT: Micros
  readonly spans: readonly FaultSpan[]
  /**
   * Maximum time that clients may take to catch up after these faults: the largest maximum time of
   * any of them.
   */
  readonly boundMs: number
}

export function faultSpans(history: History): readonly FaultSpan[] {
  const heals = new Map<number, Micros>()
  for (const { id, phase, t } of history.faults) if (phase === 'heal') heals.set(id, t)
  return history.faults.flatMap(({ id, kind, name, affects, boundMs, phase, t }) =>
    phase === 'start'
      ? [{ id, kind, name, affects, boundMs, startT: t, healT: heals.get(id) ?? Number.POSITIVE_INFINITY }]
      : [],
  )
}

export function faultWindows(spans: readonly FaultSpan[]): readonly FaultWindow[] {
  const windows: { startT: Micros; healT: Micros; spans: FaultSpan[]; boundMs: number }[] = []
  for (const span of [...spans].sort((left, right) => left.startT - right.startT)) {
    const last = windows.at(-1)
    if (last !== undefined && span.startT <= last.healT) {
      last.healT = Math.max(last.healT, span.healT)
      last.boundMs = Math.max(last.boundMs, span.boundMs)
      last.spans.push(span)
    } else windows.push({ startT: span.startT, healT: span.healT, spans: [span], boundMs: span.boundMs })
  }
  return windows
}

/** Time after a pause of a workload process during which deliveries may still be late. */
const stallBoundMs = 2_000

/**
 * Returns the periods whose latencies prove nothing: while faults were active, and while a workload
 * process was paused. (The time that clients take to catch up after a fault is measured
 * separately.)
 */
export function disturbances(history: History, spans: readonly FaultSpan[]): readonly FaultWindow[] {
  const stalls = stallSpans(history)
  return faultWindows([...spans, ...stalls])
}

export function stallSpans({ stalls }: History): readonly FaultSpan[] {
  return stalls.map(({ t, lateMs }) => ({
    id: 0,
    kind: 'stall',
    name: 'the machine did not run',
    affects: [],
    boundMs: stallBoundMs,
    startT: t - lateMs * 1_000,
    healT: t,
  }))
}

/**
 * Returns the index of the first window that ends after `t`. The windows must be disjoint and
 * sorted.
 */
export function windowEndingAfter(
  windows: readonly { readonly startT: Micros; readonly healT: Micros }[],
  t: Micros,
): number {
  let low = 0
  let high = windows.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((windows[middle]?.healT ?? 0) > t) high = middle
    else low = middle + 1
  }
  return low
}
