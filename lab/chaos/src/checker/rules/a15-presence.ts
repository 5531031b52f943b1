/**
 * Checker rule A15: a user's shown presence was wrong for too long: online or away without a
 * connection, or offline with one. A presence value holds until the watching client gets the next
 * one, or until its connection ends. The maximum time starts again when a fault is healed. The
 * value `unknown` is never wrong.
 */
import type { Micros } from '../../history/index.ts'
import type { Facts } from '../facts.ts'
import type { History } from '../history.ts'
import type { Rule } from '../rule.ts'

interface Span {
  readonly fromT: Micros
  readonly toT: Micros
}

type Told = History['presences'][number]

export const presence: Rule = {
  id: 'A15',
  name: 'presence',
  unit: 'statuses that lasted long enough to be checked',
  needs: 'presence received by watchers, and times without faults that are longer than the bound',
  blindTo: 'errors shorter than the bound; online against away',
  check(facts, settings, findings) {
    const { history } = facts
    const boundMicros = (settings.presenceBoundMs + settings.slackMs) * 1_000
    const spans = connectionSpans(history)
    const readyUntil = watcherEnds(history)
    const present = new Map<string, readonly Span[]>()
    for (const { user, status, fromT, toT, told } of heldStatuses(history, readyUntil)) {
      if (status === 'unknown') continue
      let here = present.get(user)
      if (here === undefined) {
        here = union(spans.get(user) ?? [])
        present.set(user, here)
      }
      const stretches = [
        ...withoutFaults(facts, here).map((stretch) => ({ ...stretch, isHere: true })),
        ...withoutFaults(facts, complement(here)).map((stretch) => ({ ...stretch, isHere: false })),
      ]
      for (const stretch of stretches) {
        const certainFromT = Math.max(fromT, stretch.fromT + boundMicros)
        const certainToT = Math.min(toT, stretch.toT)
        if (certainFromT >= certainToT) continue
        findings.judged += 1
        if (stretch.isHere === (status !== 'offline')) continue
        findings.report(
          () =>
            `${told.connection} was told that ${user} is ${status} until ${history.secondsOf(certainToT)} s, but the user was ${stretch.isHere ? 'connected' : 'not connected'} from ${history.secondsOf(stretch.fromT)} s on`,
          [told],
          certainFromT,
        )
      }
    }
  },
}

function* heldStatuses(
  history: History,
  readyUntil: (connection: string, t: Micros) => Micros,
): Generator<{ user: string; status: Told['status']; fromT: Micros; toT: Micros; told: Told }> {
  const byWatch = new Map<string, Told[]>()
  for (const told of history.presences) {
    const key = `${told.connection} ${told.user}`
    const known = byWatch.get(key)
    if (known === undefined) byWatch.set(key, [told])
    else known.push(told)
  }
  for (const list of byWatch.values()) {
    for (const [index, told] of list.entries()) {
      const endT = readyUntil(told.connection, told.t)
      const toT = Math.min(list[index + 1]?.t ?? Number.POSITIVE_INFINITY, endT)
      yield { user: told.user, status: told.status, fromT: told.t, toT, told }
    }
  }
}

/** Returns a function that finds when the connection of a watching client ended. */
function watcherEnds(history: History): (connection: string, t: Micros) => Micros {
  const ends = new Map<string, Micros[]>()
  for (const { connection, state, t } of history.connections) {
    if (state !== 'closing' && state !== 'closed' && state !== 'reset') continue
    const known = ends.get(connection)
    if (known === undefined) ends.set(connection, [t])
    else known.push(t)
  }
  return (connection, t) => ends.get(connection)?.find((end) => end >= t) ?? history.quietT
}

function connectionSpans(history: History): Map<string, Span[]> {
  const begun = new Map<string, History['connections'][number]>()
  const spans = new Map<string, Span[]>()
  const put = (user: string, span: Span) => {
    const known = spans.get(user)
    if (known === undefined) spans.set(user, [span])
    else known.push(span)
  }
  for (const event of history.connections) {
    if (event.state === 'ready') {
      if (!begun.has(event.connection)) begun.set(event.connection, event)
    } else if (event.state === 'closed' || event.state === 'closing') {
      const ready = begun.get(event.connection)
      if (ready === undefined) continue
      begun.delete(event.connection)
      put(ready.user, { fromT: ready.t, toT: event.t })
    }
  }
  for (const ready of begun.values()) put(ready.user, { fromT: ready.t, toT: history.lastT })
  return spans
}

function union(spans: readonly Span[]): readonly Span[] {
  const merged: { fromT: Micros; toT: Micros }[] = []
  for (const span of [...spans].sort((left, right) => left.fromT - right.fromT)) {
    const last = merged.at(-1)
    if (last !== undefined && span.fromT <= last.toT) last.toT = Math.max(last.toT, span.toT)
    else merged.push({ ...span })
  }
  return merged
}

/**
 * Returns the periods in which the user was not connected. Leaves out the time before the first
 * connection, because the user's earlier connections are unknown.
 */
function complement(spans: readonly Span[]): readonly Span[] {
  return spans.map(({ toT }, index) => ({ fromT: toT, toT: spans[index + 1]?.fromT ?? Number.POSITIVE_INFINITY }))
}

/**
 * Removes the periods of faults from the given periods. What remains after a fault begins when the
 * last overlapping fault has healed.
 */
function withoutFaults({ faultWindows }: Facts, spans: readonly Span[]): readonly Span[] {
  return spans.flatMap(({ fromT, toT }) => {
    const pieces: Span[] = []
    let startT = fromT
    for (const window of faultWindows) {
      if (window.healT <= startT) continue
      if (window.startT >= toT) break
      if (window.startT > startT) pieces.push({ fromT: startT, toT: window.startT })
      startT = window.healT
    }
    if (startT < toT) pieces.push({ fromT: startT, toT })
    return pieces
  })
}
