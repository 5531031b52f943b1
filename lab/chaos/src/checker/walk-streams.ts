/**
 * Follows every stream (the log as one client sees it, across reconnections) through the history
 * once. Collects facts for several rules: duplicates (A5), holes (A7), jumps and steps back (A8),
 * and what each stream had received when (A13).
 *
 * For each receiver of changes (observer) and each conversation, the next sequence number (seq)
 * must be the last one + 1, with these exceptions:
 * - The first delivery may have any seq. So may a delivery after a reset, and a delivery after the
 *   user's own removal.
 * - A stream may jump over changes before the user's rejoin.
 * - A stream may jump to the user's own removal, the only change that a removed member still gets.
 * - A stream whose process died without writing its store may repeat from an earlier seq, in order.
 * - A stream may jump when the server announced it (a rebase). The rebase may be recorded up to a
 *   second after the deliveries that it explains.
 */
import { hashText } from '../history/index.ts'
import type { Delivery } from './columns.ts'
import type { History } from './history.ts'
import { Intervals } from './intervals.ts'
import type { Memberships } from './memberships.ts'

const lateRebaseMaxMicros = 1_000_000

/** A delivery that breaks the expected order. */
export interface Slip {
  readonly delivery: Delivery
  /** Sequence number of the delivery before it. */
  readonly last: number
}

export interface Hole {
  readonly stream: string
  readonly conversation: string
  readonly from: number
  readonly to: number
}

/**
 * Position of one client in one conversation over time. `positions` contains growing sequence
 * numbers; `times` contains when each was reached.
 */
export interface Track {
  readonly stream: string
  readonly user: string
  readonly conversation: string
  readonly times: number[]
  readonly positions: number[]
  /**
   * Times at which the client forgot its position in the conversation without getting a new one.
   */
  readonly resets: number[]
  /**
   * Returns whether the client skipped the change with this sequence number without a reason and
   * never received it later.
   */
  isMissed(seq: number): boolean
}

export interface StreamWalk {
  readonly duplicates: readonly Slip[]
  readonly jumps: readonly Slip[]
  readonly stepsBack: readonly Slip[]
  readonly holes: readonly Hole[]
  readonly tracks: readonly Track[]
  /** Number of clients that continued over several connections. */
  readonly continued: number
}

interface Cursor {
  last: number
  /** Whether the next delivery may have any sequence number. */
  isFree: boolean
  /** Whether the next delivery may have any sequence number up to last + 1. */
  mayGoBack: boolean
  generation: number
  seen: Intervals
  readonly track: OpenTrack
}

interface OpenTrack extends Track {
  readonly missed: Intervals
  /** Sequence numbers of changes that were skipped and then delivered late, out of order. */
  readonly late: Intervals
  readonly covered: Intervals
  readonly observers: Set<number>
  isFree: boolean
}

interface ObserverState {
  readonly id: number
  readonly user: string
  readonly userHash: number
  readonly stream: string
  /** Counter that grows whenever a client forgets its positions in all conversations. */
  generation: number
  readonly cursors: Map<string, Cursor>
}

export function walkStreams(history: History, memberships: Memberships): StreamWalk {
  const walker = new Walker(history, memberships)
  let mark = 0
  for (let index = 0; index < history.deliveries.length; index++) {
    for (; (history.marks[mark]?.deliveriesBefore ?? Number.POSITIVE_INFINITY) <= index; mark++) walker.takeMark(mark)
    walker.takeDelivery(history.deliveries.at(index))
  }
  for (; mark < history.marks.length; mark++) walker.takeMark(mark)
  return walker.finish()
}

class Walker {
  readonly #history: History
  readonly #memberships: Memberships
  readonly #observers: (ObserverState | undefined)[] = []
  readonly #observersByStream = new Map<string, ObserverState[]>()
  readonly #tracks = new Map<string, OpenTrack>()
  readonly #tracksByStream = new Map<string, OpenTrack[]>()
  readonly #duplicates: Slip[] = []
  readonly #jumps = new Set<Slip>()
  readonly #jumpsByCursor = new Map<Cursor, Slip[]>()
  readonly #stepsBack: Slip[] = []

  constructor(history: History, memberships: Memberships) {
    this.#history = history
    this.#memberships = memberships
  }

  takeMark(index: number): void {
    const event = this.#history.marks[index]?.event
    if (event === undefined) return
    if (event.op === 'stream') {
      if (event.state !== 'detached' || event.isClean !== false) return
      for (const observer of this.#observersByStream.get(event.stream) ?? []) {
        for (const cursor of observer.cursors.values()) cursor.mayGoBack = true
      }
      return
    }
    const observer = this.#observerOf(this.#history.names.idOf(event.observer))
    if (event.conversation === undefined) {
      observer.generation += 1
      for (const track of this.#tracksByStream.get(observer.stream) ?? []) forget(track, event.t)
      return
    }
    for (const cursor of this.#cursorsFor(observer, event.conversation)) this.#rebase(cursor, event.seq, event.t)
  }

  takeDelivery(delivery: Delivery): void {
    const observer = this.#observerOf(delivery.observer)
    const cursor = this.#cursorOf(observer, delivery.epoch, delivery.conversation)
    if (cursor.generation !== observer.generation) {
      cursor.generation = observer.generation
      cursor.isFree = true
    }
    const from = delivery.kind === 's' ? Math.min(delivery.target, delivery.seq) : delivery.seq
    const to = delivery.seq
    const isOwnRemoval = delivery.kind === 'l' && delivery.hash === observer.userHash
    const { last } = cursor
    const isFirst = cursor.isFree
    if (cursor.mayGoBack && (isFirst || from <= last + 1)) {
      // The client's store had not saved this change before its process died. So the callback may
      // repeat this change and the changes after it.
      cursor.seen = new Intervals()
    } else if (cursor.seen.has(to)) {
      this.#duplicates.push({ delivery, last })
      return
    } else if (!isFirst && from > last + 1) {
      if (!isOwnRemoval && !this.#hasRejoined(observer, cursor.track.conversation, last, to))
        this.#jump(cursor, delivery)
      cursor.track.covered.add(last + 1, from - 1)
    } else if (!isFirst && to <= last) {
      this.#stepsBack.push({ delivery, last })
      cursor.seen.add(from, to)
      cursor.track.covered.add(from, to)
      cursor.track.late.add(from, to)
      return
    }
    cursor.mayGoBack = false
    cursor.isFree = isOwnRemoval
    cursor.last = to
    cursor.seen.add(from, to)
    const { track } = cursor
    track.observers.add(observer.id)
    const position = track.positions.at(-1) ?? 0
    const passedOver =
      position > 0 &&
      from > position + 1 &&
      (track.isFree || isOwnRemoval || this.#hasRejoined(observer, track.conversation, position, to))
    if (passedOver) track.covered.add(position + 1, from - 1)
    track.isFree = isOwnRemoval
    track.covered.add(from, to)
    advance(track, to, delivery.t)
  }

  finish(): StreamWalk {
    const holes: Hole[] = []
    let continued = 0
    for (const { stream, conversation, covered, missed, observers } of this.#tracks.values()) {
      if (observers.size > 1) continued += 1
      for (const gap of covered.gaps()) {
        holes.push({ stream, conversation, ...gap })
        missed.add(gap.from, gap.to)
      }
    }
    for (const [{ track }, slips] of this.#jumpsByCursor) {
      for (const slip of slips) if (this.#jumps.has(slip)) track.missed.add(slip.last + 1, slip.delivery.seq - 1)
    }
    return {
      duplicates: this.#duplicates,
      jumps: [...this.#jumps],
      stepsBack: this.#stepsBack,
      holes,
      tracks: [...this.#tracks.values()],
      continued,
    }
  }

  #jump(cursor: Cursor, delivery: Delivery): void {
    const slip: Slip = { delivery, last: cursor.last }
    this.#jumps.add(slip)
    const known = this.#jumpsByCursor.get(cursor)
    if (known === undefined) this.#jumpsByCursor.set(cursor, [slip])
    else known.push(slip)
  }

  #rebase(cursor: Cursor, seq: number | undefined, t: number): void {
    const { track } = cursor
    if (seq === undefined) {
      cursor.isFree = true
      forget(track, t)
      return
    }
    for (const slip of this.#jumpsByCursor.get(cursor) ?? []) {
      if (slip.delivery.seq <= seq + 1 && Math.abs(t - slip.delivery.t) <= lateRebaseMaxMicros) this.#jumps.delete(slip)
    }
    const position = track.positions.at(-1) ?? 0
    if (seq > position && position > 0) track.covered.add(position + 1, seq)
    else track.covered.add(seq, seq)
    advance(track, seq, t)
    if (seq <= cursor.last) return
    cursor.last = seq
    cursor.isFree = false
  }

  #hasRejoined(observer: ObserverState, conversation: string, after: number, upTo: number): boolean {
    return this.#memberships.of(conversation, observer.user).joins.some(({ seq }) => seq > after && seq <= upTo)
  }

  #observerOf(id: number): ObserverState {
    const known = this.#observers[id]
    if (known !== undefined) return known
    const name = this.#history.names.nameOf(id)
    const declared = this.#history.observers.get(name)
    const user = declared?.user ?? ''
    const stream = declared?.stream ?? name
    const state: ObserverState = { id, user, userHash: hashText(user), stream, generation: 0, cursors: new Map() }
    this.#observers[id] = state
    const siblings = this.#observersByStream.get(stream)
    if (siblings === undefined) this.#observersByStream.set(stream, [state])
    else siblings.push(state)
    return state
  }

  #cursorOf(observer: ObserverState, epoch: number, conversation: number): Cursor {
    const key = `${conversation} ${epoch}`
    const known = observer.cursors.get(key)
    if (known !== undefined) return known
    const { names } = this.#history
    const trackKey = `${observer.stream} ${key}`
    let track = this.#tracks.get(trackKey)
    if (track === undefined) {
      track = {
        stream: observer.stream,
        user: observer.user,
        conversation: names.nameOf(conversation),
        times: [],
        positions: [],
        resets: [],
        missed: new Intervals(),
        late: new Intervals(),
        isMissed(seq) {
          return this.missed.has(seq) && !this.late.has(seq)
        },
        covered: new Intervals(),
        observers: new Set(),
        isFree: false,
      }
      this.#tracks.set(trackKey, track)
      const siblings = this.#tracksByStream.get(observer.stream)
      if (siblings === undefined) this.#tracksByStream.set(observer.stream, [track])
      else siblings.push(track)
    }
    const cursor: Cursor = {
      last: 0,
      isFree: true,
      mayGoBack: false,
      generation: observer.generation,
      seen: new Intervals(),
      track,
    }
    observer.cursors.set(key, cursor)
    return cursor
  }

  /**
   * Returns the positions that a rebase (a jump that the server announced) changes. A rebase does
   * not name its epoch, which identifies one database. So it applies to the epochs known to the
   * observer, or to its first one.
   */
  #cursorsFor(observer: ObserverState, conversation: string): readonly Cursor[] {
    const id = this.#history.names.idOf(conversation)
    const known = [...observer.cursors].filter(([key]) => key.startsWith(`${id} `)).map(([, cursor]) => cursor)
    if (known.length > 0) return known
    return [this.#cursorOf(observer, this.#epochOf(observer), id)]
  }

  #epochOf(observer: ObserverState): number {
    for (const key of observer.cursors.keys()) return Number(key.split(' ')[1])
    // This receiver has no deliveries yet, so use the first epoch (database) of the history. Nearly
    // always it is the only one.
    const first = this.#history.deliveries.length > 0 ? this.#history.deliveries.at(0).epoch : 0
    return first
  }
}

function advance(track: OpenTrack, position: number, t: number): void {
  if (position <= (track.positions.at(-1) ?? 0)) return
  track.positions.push(position)
  track.times.push(t)
}

function forget(track: OpenTrack, t: number): void {
  track.isFree = true
  track.resets.push(t)
}
