/**
 * Measures how long it took until clients had received everything. While no fault was active,
 * measures from each acknowledgement to the delivery on each attached stream. (A stream is the log
 * as one client sees it, across reconnections; it is attached while its client must receive
 * changes.) After each fault, measures from the end of the fault until each attached stream has all
 * changes that were acknowledged before.
 *
 * Only changes that a stream certainly had to receive are judged, under three conditions. First,
 * the stream was attached the whole time. Second, its user was a member from the message on. Third,
 * the stream certainly followed the conversation: it had received an earlier change of the same
 * membership, or the stream and the membership were older than the message by `joinSettleMs`. The
 * third condition is needed because the client library calls no callback for a page that it loads
 * at its start or after a join. Without this condition, such a page would look like a loss.
 */
import type { Micros } from '../history/index.ts'
import type { Facts } from './facts.ts'
import { type FaultSpan, type FaultWindow, windowEndingAfter } from './fault-windows.ts'
import type { LogicalSend } from './history.ts'
import { Latencies } from './latencies.ts'
import { lastUpTo, type Membership } from './memberships.ts'
import type { CheckSettings } from './rule.ts'
import { acknowledgedT, firstInvokeT } from './send-facts.ts'
import type { Track } from './walk-streams.ts'

/** A change that reached a client late or never. */
export interface Lateness {
  readonly stream: string
  readonly conversation: string
  readonly seq: number
  /** Time at which the change arrived; undefined if it never arrived. */
  readonly reachedT: Micros | undefined
  readonly sinceT: Micros
  readonly boundMs: number
  readonly why: 'tail' | 'heal' | 'end'
  readonly window: FaultWindow | undefined
  readonly send: LogicalSend | undefined
}

export interface Convergence {
  /**
   * Times between a message's acknowledgement and its delivery to a running client, outside of
   * faults.
   */
  readonly tail: Latencies
  /**
   * Times between the end of a fault and the moment when a client has caught up, one for each
   * client and fault. The key names the kinds of faults that were active together (`F4`, `F4+F11`).
   */
  readonly heals: ReadonlyMap<string, Latencies>
  /**
   * Number of pairs of a client and a conversation for which it was checked that the client has the
   * end of the conversation.
   */
  readonly ends: number
  /** The first late or missing changes, at most `lateMax`. */
  readonly late: readonly Lateness[]
  readonly lateCount: number
}

/** Maximum number of late changes that are kept with their details. Others are only counted. */
const lateMax = 1_000
const measured = new WeakMap<Facts, Convergence>()

/** Returns the measured delivery times of this history. Measures once and caches the result. */
export function convergenceOf(facts: Facts, settings: CheckSettings): Convergence {
  const known = measured.get(facts)
  if (known !== undefined) return known
  const late: Lateness[] = []
  let lateCount = 0
  const convergence = measureConvergence(facts, settings, (lateness) => {
    lateCount += 1
    if (late.length < lateMax) late.push(lateness)
  })
  const whole: Convergence = { ...convergence, late, lateCount }
  measured.set(facts, whole)
  return whole
}

interface Acknowledged {
  readonly seq: number
  readonly okT: Micros
  readonly invokeT: Micros
  readonly send: LogicalSend
}

interface Log {
  /** Acknowledged messages of a conversation, in the order of their sequence numbers (seqs). */
  readonly acknowledged: readonly Acknowledged[]
  /**
   * The acknowledged messages that raised the highest acknowledged sequence number, in time order.
   */
  readonly tops: readonly Acknowledged[]
}

interface Interval {
  readonly fromT: Micros
  readonly toT: Micros
}

interface Follower {
  readonly stream: string
  readonly user: string
  readonly intervals: readonly Interval[]
}

const emptyTrack: Track = {
  stream: '',
  user: '',
  conversation: '',
  times: [],
  positions: [],
  resets: [],
  isMissed: () => false,
}

function measureConvergence(
  facts: Facts,
  settings: CheckSettings,
  report: (lateness: Lateness) => void,
): Omit<Convergence, 'late' | 'lateCount'> {
  const { history, memberships, walk, faultWindows, disturbed, stalls } = facts
  const logs = toLogs(facts)
  const followers = toFollowers(facts)
  const tracks = new Map<string, Track>()
  for (const track of walk.tracks) {
    const key = `${track.stream} ${track.conversation}`
    const known = tracks.get(key)
    // If the database was replaced during the run (a new epoch), use what the client received from
    // the last database.
    if (known === undefined || (known.times.at(-1) ?? 0) < (track.times.at(-1) ?? 0)) tracks.set(key, track)
  }
  const conversationsOf = new Map<string, string[]>()
  for (const conversation of history.rows.keys()) {
    for (const user of memberships.usersOf(conversation)) {
      const known = conversationsOf.get(user)
      if (known === undefined) conversationsOf.set(user, [conversation])
      else known.push(conversation)
    }
  }

  const tail = new Latencies()
  const heals = new Map<string, Latencies>()
  let ends = 0
  for (const follower of followers) {
    const pairs = (conversationsOf.get(follower.user) ?? []).map((conversation) => {
      const membership = memberships.of(conversation, follower.user)
      const track = tracks.get(`${follower.stream} ${conversation}`) ?? emptyTrack
      return new Pair(follower, conversation, membership, track, settings)
    })
    for (const pair of pairs) {
      const log = logs.get(pair.conversation)
      if (log !== undefined) measureTail(pair, log, disturbed, settings, tail, report)
      if (isAtEnd(facts, pair)) {
        ends += 1
        measureEnd(facts, pair, log, settings, report)
      }
    }
    for (const [index, window] of faultWindows.entries()) {
      const next = faultWindows[index + 1]
      const latencyMs = measureHeal(pairs, logs, window, next, stalls, settings, report)
      if (latencyMs === undefined) continue
      const kind = [...new Set(window.spans.map((span) => span.kind))].sort().join('+')
      let latencies = heals.get(kind)
      if (latencies === undefined) {
        latencies = new Latencies()
        heals.set(kind, latencies)
      }
      latencies.add(latencyMs)
    }
  }
  return { tail, heals, ends }
}

/** One client in one conversation: its membership, and which changes it received when. */
class Pair {
  readonly follower: Follower
  readonly conversation: string
  readonly membership: Membership
  readonly track: Track
  readonly #settleMicros: number
  /**
   * Index where the next search for a sequence number begins. Callers mostly search in ascending
   * order.
   */
  #hint = 0

  constructor(follower: Follower, conversation: string, membership: Membership, track: Track, settings: CheckSettings) {
    this.follower = follower
    this.conversation = conversation
    this.membership = membership
    this.track = track
    this.#settleMicros = settings.joinSettleMs * 1_000
  }

  /**
   * Returns when the client received the change with this sequence number or skipped it for a good
   * reason; undefined if it never did.
   */
  reachedT(seq: number): Micros | undefined {
    const { positions, times } = this.track
    if (this.track.isMissed(seq)) return undefined
    if ((positions[this.#hint - 1] ?? 0) >= seq) this.#hint = 0
    while (this.#hint < positions.length && (positions[this.#hint] ?? 0) < seq) this.#hint += 1
    return times[this.#hint]
  }

  /**
   * Returns the interval in which the client had to receive this message. Returns undefined if the
   * client was stopped or paused, if its user was not a member, or if it is unknown whether the
   * client followed the conversation.
   */
  duty({ seq, okT, invokeT }: Acknowledged): Interval | undefined {
    const interval = this.follower.intervals.find(({ fromT, toT }) => fromT <= okT && okT < toT)
    if (interval === undefined) return undefined
    const { joins, removals } = this.membership
    const joinSeq = lastUpTo(joins, seq)
    if (joinSeq === 0) return undefined
    const removal = removals.find((change) => change.seq > joinSeq)
    if (removal !== undefined && removal.seq < seq) return undefined
    const toT = Math.min(interval.toT, removal?.notBeforeT ?? Number.POSITIVE_INFINITY)
    return this.#isAtHome(seq, joinSeq, interval.fromT, invokeT) ? { fromT: interval.fromT, toT } : undefined
  }

  wasResetBetween(fromT: Micros, toT: Micros): boolean {
    return this.track.resets.some((t) => t >= fromT && t <= toT)
  }

  #isAtHome(seq: number, joinSeq: number, attachedT: Micros, invokeT: Micros): boolean {
    const { positions } = this.track
    // Find the first change that the client received within this membership.
    let low = 0
    let high = positions.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((positions[middle] ?? 0) < joinSeq) low = middle + 1
      else high = middle
    }
    const first = positions[low]
    if (first !== undefined && first < seq) return true
    const join = this.membership.joins.find((change) => change.seq === joinSeq)
    const homeT = Math.max(attachedT, join?.notAfterT ?? Number.POSITIVE_INFINITY) + this.#settleMicros
    return homeT <= invokeT
  }
}

function measureTail(
  pair: Pair,
  log: Log,
  windows: readonly FaultWindow[],
  { tailBoundMs, slackMs }: CheckSettings,
  tail: Latencies,
  report: (lateness: Lateness) => void,
): void {
  const boundMicros = (tailBoundMs + slackMs) * 1_000
  for (const acknowledged of log.acknowledged) {
    const duty = pair.duty(acknowledged)
    if (duty === undefined) continue
    const { seq, okT } = acknowledged
    // A change near a fault may arrive late, but the client must not skip it.
    if (!pair.track.isMissed(seq) && isNearFault(windows, okT, okT + boundMicros)) continue
    const reachedT = pair.reachedT(seq)
    if (reachedT !== undefined && reachedT <= okT + boundMicros) {
      tail.add(Math.max(0, (reachedT - okT) / 1_000))
      continue
    }
    if (duty.toT <= okT + boundMicros || pair.wasResetBetween(okT, reachedT ?? duty.toT)) continue
    if (reachedT !== undefined) tail.add((reachedT - okT) / 1_000)
    report({
      stream: pair.follower.stream,
      conversation: pair.conversation,
      seq,
      reachedT,
      sinceT: okT,
      boundMs: tailBoundMs + slackMs,
      why: 'tail',
      window: undefined,
      send: acknowledged.send,
    })
  }
}

/**
 * Returns whether a fault was active, or clients were still recovering from it, at some time
 * between `fromT` and `toT`.
 */
function isNearFault(windows: readonly FaultWindow[], fromT: Micros, toT: Micros): boolean {
  const index = windowEndingAfter(windows, fromT)
  const window = windows[index]
  if (window !== undefined && window.startT <= toT) return true
  const before = windows[index - 1]
  return before !== undefined && before.healT + before.boundMs * 1_000 >= fromT
}

/**
 * Returns the time between the end of a fault and the moment when the client had everything that
 * was acknowledged before, in all its conversations. Returns undefined if this time cannot be
 * determined.
 */
function measureHeal(
  pairs: readonly Pair[],
  logs: ReadonlyMap<string, Log>,
  window: FaultWindow,
  next: FaultWindow | undefined,
  stalls: readonly FaultSpan[],
  { slackMs }: CheckSettings,
  report: (lateness: Lateness) => void,
): number | undefined {
  const { healT } = window
  if (healT === Number.POSITIVE_INFINITY) return undefined
  const boundT = healT + (window.boundMs + slackMs) * 1_000
  let caughtUpT: Micros | undefined
  for (const pair of pairs) {
    const log = logs.get(pair.conversation)
    const target = log === undefined ? undefined : lastAt(log.tops, healT)
    if (target === undefined) continue
    const attached = pair.follower.intervals.find(({ fromT, toT }) => fromT <= healT && healT < toT)
    if (attached === undefined) return undefined
    // A client that was stopped for some time must also receive the changes acknowledged in that
    // time, because it resumes from its last position.
    const duty = pair.duty({ ...target, okT: healT })
    if (duty === undefined) continue
    const reachedT = pair.reachedT(target.seq)
    const until = reachedT ?? Number.POSITIVE_INFINITY
    if (until <= boundT) {
      caughtUpT = Math.max(caughtUpT ?? healT, until)
      continue
    }
    // Skip a client that was stopped, affected by the next fault, or late because the machine
    // stalled: this fault may not be the cause.
    if (duty.toT <= boundT || (next !== undefined && next.startT <= boundT)) return undefined
    if (reachedT !== undefined && stalls.some((stall) => stall.startT <= reachedT && stall.healT >= healT))
      return undefined
    if (pair.wasResetBetween(target.okT, Math.min(until, duty.toT))) continue
    caughtUpT = Math.max(caughtUpT ?? healT, reachedT ?? duty.toT)
    report({
      stream: pair.follower.stream,
      conversation: pair.conversation,
      seq: target.seq,
      reachedT,
      sinceT: healT,
      boundMs: window.boundMs + slackMs,
      why: 'heal',
      window,
      send: target.send,
    })
  }
  return caughtUpT === undefined || caughtUpT === Number.POSITIVE_INFINITY ? undefined : (caughtUpT - healT) / 1_000
}

function isAtEnd({ history }: Facts, { conversation, follower }: Pair): boolean {
  if (!history.phases.some(({ phase }) => phase === 'quiet')) return false
  const { quietT } = history
  if (history.conversations.get(conversation)?.members.includes(follower.user) !== true) return false
  return follower.intervals.some(({ fromT, toT }) => fromT < quietT && toT > quietT)
}

function measureEnd(
  { history }: Facts,
  pair: Pair,
  log: Log | undefined,
  settings: CheckSettings,
  report: (lateness: Lateness) => void,
): void {
  const top = history.conversations.get(pair.conversation)?.seq ?? 0
  const { quietT } = history
  const { positions, times } = pair.track
  if ((positions.at(-1) ?? 0) >= top || pair.wasResetBetween(times.at(-1) ?? 0, quietT)) return
  const joinSeq = lastUpTo(pair.membership.joins, top)
  const isAtHome =
    (positions.at(-1) ?? 0) >= joinSeq && positions.length > 0
      ? true
      : (log?.acknowledged.some((acknowledged) => pair.duty(acknowledged) !== undefined) ?? false)
  if (!isAtHome) return
  report({
    stream: pair.follower.stream,
    conversation: pair.conversation,
    seq: top,
    reachedT: undefined,
    sinceT: quietT,
    boundMs: settings.tailBoundMs,
    why: 'end',
    window: undefined,
    send: undefined,
  })
}

function toLogs({ history }: Facts): ReadonlyMap<string, Log> {
  const bySeq = new Map<string, Acknowledged[]>()
  for (const send of history.sends.values()) {
    const okT = acknowledgedT(send)
    if (okT === undefined || send.row === undefined) continue
    const acknowledged: Acknowledged = { seq: send.row.seq, okT, invokeT: firstInvokeT(send), send }
    const known = bySeq.get(send.conversation)
    if (known === undefined) bySeq.set(send.conversation, [acknowledged])
    else known.push(acknowledged)
  }
  const logs = new Map<string, Log>()
  for (const [conversation, acknowledged] of bySeq) {
    let top = 0
    const tops = [...acknowledged]
      .sort((left, right) => left.okT - right.okT)
      .filter(({ seq }) => {
        if (seq <= top) return false
        top = seq
        return true
      })
    logs.set(conversation, { acknowledged: acknowledged.sort((left, right) => left.seq - right.seq), tops })
  }
  return logs
}

/** Returns the message with the highest sequence number of those acknowledged by time `t`. */
function lastAt(tops: readonly Acknowledged[], t: Micros): Acknowledged | undefined {
  let low = 0
  let high = tops.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((tops[middle]?.okT ?? 0) <= t) low = middle + 1
    else high = middle
  }
  return tops[low - 1]
}

function toFollowers({ history }: Facts): readonly Follower[] {
  const users = new Map<string, string>()
  for (const { stream, user } of history.observers.values()) users.set(stream, user)
  const intervals = new Map<string, { fromT: Micros; toT: Micros }[]>()
  const events = history.marks.flatMap(({ event }) => (event.op === 'stream' ? [event] : []))
  for (const { stream, state, t } of events.sort((left, right) => left.t - right.t)) {
    let list = intervals.get(stream)
    if (list === undefined) {
      list = []
      intervals.set(stream, list)
    }
    const open = list.at(-1)?.toT === Number.POSITIVE_INFINITY ? list.at(-1) : undefined
    if (state === 'attached') {
      if (open === undefined) list.push({ fromT: t, toT: Number.POSITIVE_INFINITY })
    } else if (open !== undefined) open.toT = t
  }
  return [...intervals].flatMap(([stream, list]) => {
    const user = users.get(stream)
    return user === undefined ? [] : [{ stream, user, intervals: list }]
  })
}
