/**
 * What many clients missed at once, read once for all of them (rule LIM2): stretches of the log beyond what the feeds keep,
 * and from which seq on a cursor's holder lacks it. Kept in this process for a moment, within a budget of bytes.
 *
 * A stretch says as of which seq it was read. A message in it is as it was then, so it may be shown only to somebody who was
 * seen to be a member at that seq or later (rule ACL1); its edits and deletions since then follow it in the log.
 */
import { ChorusError, type Id, limits } from '@chorus/protocol'
import { Batcher } from '../support/batcher.ts'
import { ByteLru } from '../support/byte-lru.ts'
import type { Clock } from '../support/clock.ts'
import type { Database } from './database.ts'
import { type LogStretch, readBoundary, readStretch } from './read-changes.ts'
import { readMemberSeqs } from './read-member-seqs.ts'
import type { MemberPair } from './read-newest-pages.ts'

export const stretchBounds = {
  /** Changes of one stretch; it begins at a multiple of this, or where the one before had to end. */
  changesMax: 1_000,
  /** Text of one stretch. */
  textMaxBytes: 2_000_000,
  /** Of all that is kept, as JSON. */
  bytesMax: 16_000_000,
  /** How long a stretch is shown again. */
  lifeMs: 10_000,
  /** Conversations whose boundaries are remembered, and how many of each. */
  boundariesMax: 5_000,
  boundariesEachMax: 32,
  batchMax: 500,
  waitingMax: 20_000,
} as const

export interface LogStretchesOptions {
  readonly database: Database
  readonly clock: Clock
  readonly epoch: () => string
  /** Told where each stretch and each boundary that was wanted came from. */
  readonly onRead?: (what: 'stretches' | 'boundaries', outcome: 'local' | 'read') => void
}

interface KeptStretch extends LogStretch {
  readonly readAtMs: number
}

export class LogStretches {
  readonly #options: LogStretchesOptions
  #epoch: string
  readonly #stretches = new ByteLru<KeptStretch>(stretchBounds.bytesMax)
  readonly #reading = new Map<string, Promise<KeptStretch>>()
  /** By conversation, the least recently used first: the boundary of each position that was asked for. */
  readonly #boundaries = new Map<Id, Map<number, Promise<number | undefined>>>()
  readonly #members: Batcher<MemberPair, number | null>

  constructor(options: LogStretchesOptions) {
    this.#options = options
    this.#epoch = options.epoch()
    this.#members = new Batcher({
      run: (pairs: readonly MemberPair[]) => readMemberSeqs(options.database, pairs),
      batchMax: stretchBounds.batchMax,
      waitingMax: stretchBounds.waitingMax,
      refusal: () =>
        new ChorusError('unavailable', 'unable to look up memberships; too many wait for it', { retryAfterMs: 1_000 }),
    })
  }

  /** The top of the log, seen together with the membership of this user; null when they are no member. */
  memberSeq(user: Id, conversation: Id): Promise<number | null> {
    return this.#members.ask({ user, conversation })
  }

  /** The log from `from` on, at least one change and none above `to`, which the log reaches. */
  async read(conversation: Id, from: number, to: number): Promise<LogStretch> {
    this.#forgetOtherHistory()
    let start = from - ((from - 1) % stretchBounds.changesMax)
    let isSecond = false
    for (;;) {
      const stretch = await this.#stretch(conversation, start, from)
      const last = stretch.changes.at(-1)?.seq
      if (last === undefined) {
        // A read under way may have begun before there was anything.
        if (isSecond) throw new Error(`the log of ${conversation} lacks its change ${start}`)
        isSecond = true
        continue
      }
      if (last >= from) return cutOut(stretch, from, to)
      // It had to end before: the next one begins there.
      start = last + 1
    }
  }

  /**
   * The seq after which the holder of this position lacks everything, up to `top` (see readBoundary). `settled`: a position
   * below which nothing is written any more. Below it the answer stands for good, however far the log goes on.
   */
  async boundary(conversation: Id, position: number, top: number, settled: number): Promise<number | undefined> {
    this.#forgetOtherHistory()
    const { database, onRead } = this.#options
    if (position > settled) return readBoundary(database, conversation, position, top)
    const known = this.#boundariesOf(conversation)
    let boundary = known.get(position)
    onRead?.('boundaries', boundary === undefined ? 'read' : 'local')
    if (boundary === undefined) {
      boundary = readBoundary(database, conversation, position, top)
      known.set(position, boundary)
      boundary.catch(() => known.delete(position))
      const [oldest] = known.keys()
      if (known.size > stretchBounds.boundariesEachMax && oldest !== undefined) known.delete(oldest)
    }
    const seq = await boundary
    // The log has gone on since it was found.
    return seq === undefined || top - seq > limits.replayMaxChanges ? undefined : seq
  }

  async #stretch(conversation: Id, start: number, from: number): Promise<KeptStretch> {
    const key = `${conversation}:${start}`
    const { clock, onRead } = this.#options
    const kept = this.#stretches.get(key)
    if (kept !== undefined && clock.nowMs() - kept.readAtMs < stretchBounds.lifeMs) {
      const last = kept.changes.at(-1)?.seq ?? 0
      // It has what is wanted, or had to end before it. Otherwise it ended with the log as it was.
      if (last >= from || last < Math.min(kept.asOf, endOf(start))) {
        onRead?.('stretches', 'local')
        return kept
      }
    }
    const reading = this.#reading.get(key)
    if (reading !== undefined) {
      onRead?.('stretches', 'local')
      return reading
    }
    onRead?.('stretches', 'read')
    const begun = this.#readStretch(conversation, start, key)
    this.#reading.set(key, begun)
    return begun.finally(() => this.#reading.delete(key))
  }

  async #readStretch(conversation: Id, start: number, key: string): Promise<KeptStretch> {
    const { database, clock, epoch } = this.#options
    const begunIn = epoch()
    const readAtMs = clock.nowMs()
    const { changes, asOf } = await readStretch(
      database,
      { conversation, from: start, to: endOf(start) },
      stretchBounds.textMaxBytes,
    )
    const stretch = { changes, asOf, readAtMs }
    const bytes = changes.reduce((sum, { json }) => sum + json.length + 200, 200)
    if (begunIn === epoch() && changes.length > 0) this.#stretches.set(key, stretch, bytes)
    return stretch
  }

  #boundariesOf(conversation: Id): Map<number, Promise<number | undefined>> {
    const known = this.#boundaries.get(conversation) ?? new Map<number, Promise<number | undefined>>()
    this.#boundaries.delete(conversation)
    this.#boundaries.set(conversation, known)
    const [oldest] = this.#boundaries.keys()
    if (this.#boundaries.size > stretchBounds.boundariesMax && oldest !== undefined) this.#boundaries.delete(oldest)
    return known
  }

  #forgetOtherHistory(): void {
    const epoch = this.#options.epoch()
    if (epoch === this.#epoch) return
    this.#epoch = epoch
    this.#stretches.clear()
    this.#reading.clear()
    this.#boundaries.clear()
  }
}

/** Last seq of the stretch that begins at `start`. */
function endOf(start: number): number {
  return start - ((start - 1) % stretchBounds.changesMax) + stretchBounds.changesMax - 1
}

function cutOut({ changes, asOf }: LogStretch, from: number, to: number): LogStretch {
  const first = changes[0]?.seq ?? from
  return { changes: changes.slice(from - first, to - first + 1), asOf }
}
