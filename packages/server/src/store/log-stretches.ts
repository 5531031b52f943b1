/**
 * Caches segments of the log, so that changes missed by many clients are read once (rule LIM2).
 *
 * Background: after an outage many clients resume at once and miss the same changes, more than the
 * feeds keep. One read per client would overload the database. This cache keeps segments for a few
 * seconds within a byte limit. It also keeps boundaries: the last seq that a client with a given
 * position already has.
 *
 * A segment records the top of the log at its read (`asOf`) and shows messages as of then. So it
 * may be sent only to users seen as members at that seq or later (rule ACL1).
 *
 * A cached segment may contain texts that have been edited or deleted since. The reader names the
 * current top of the log. If the segment is older, later edits and deletions are applied to it
 * first (rule ERASE1). They come from the recent changes or from one read that concurrent readers
 * share.
 */
import { ChorusError, type Id, limits } from '@chorus/protocol'
import { Batcher } from '../support/batcher.ts'
import { ByteLru } from '../support/byte-lru.ts'
import type { Clock } from '../support/clock.ts'
import type { Database } from './database.ts'
import type { LoggedChange } from '../support/logged-change.ts'
import { collectRewrites, rewritten } from '../support/message-state.ts'
import {
  type LogStretch,
  readBoundary,
  readMissed,
  readRewrites,
  readStretch,
  rewritesMax,
  rewritesWalkMax,
} from './read-changes.ts'
import { readMemberSeqs } from './read-member-seqs.ts'
import type { MemberPair } from './read-newest-pages.ts'

export const stretchBounds = {
  /**
   * Segments start after multiples of this, or after a segment that hit its size limit, so that
   * clients share them.
   */
  alignment: 1_000,
  /**
   * Maximum number of changes in a segment: twice the alignment, so clients missing at most
   * `alignment` changes need one segment.
   */
  changesMax: 2_000,
  /** Clients missing at most this many changes get a small read instead of a full segment. */
  fewMax: 256,
  /** Maximum bytes of text in one segment. */
  textMaxBytes: 2_000_000,
  /** Maximum size of all cached segments, as JSON. */
  bytesMax: 16_000_000,
  /** Time for which a cached segment is reused. */
  lifeMs: 10_000,
  /** Maximum number of conversations with cached boundaries, and of boundaries in each. */
  boundariesMax: 5_000,
  boundariesEachMax: 32,
  batchMax: 500,
  waitingMax: 20_000,
} as const

export interface LogStretchesOptions {
  readonly database: Database
  readonly clock: Clock
  readonly epoch: () => string
  /** Reports where each requested segment or boundary came from: the cache (`local`) or a read. */
  readonly onRead?: (what: 'stretches' | 'boundaries', outcome: 'local' | 'read') => void
}

interface KeptStretch extends LogStretch {
  readonly key: string
  readonly readAtMs: number
  /** Seq up to which all edits and deletions are applied to the segment. */
  readonly settledSeq: number
}

/** State of the log that the reader of a segment knows. */
export interface StretchReader {
  readonly top: number
  /** Cache of recent changes. It may contain the changes up to `top`. */
  readonly recent?: { range(from: number, to: number): readonly LoggedChange[] | undefined } | undefined
}

/**
 * Maximum passes over later edits and deletions. A second pass is needed when a shared first pass
 * started too early.
 */
const looksMax = 2

/** Last seq that a client with this position has. `found` is set once the look-up has finished. */
interface Boundary {
  readonly finding: Promise<number | undefined>
  found: { readonly seq: number | undefined } | undefined
}

/** Cached boundaries of one conversation. */
interface Boundaries {
  readonly byPosition: Map<number, Boundary>
  /** Time of the last read that returned a boundary together with its segment. */
  missedReadAtMs: number
  /**
   * Pending read of a full segment. Other requests wait for it, because they mostly need the same
   * changes.
   */
  reading: Promise<void> | undefined
  /** Cache key of the last full segment. */
  stretchKey: string | undefined
}

export interface BoundaryRequest {
  readonly position: number
  readonly top: number
  readonly settled: number
  readonly lacksMany: boolean
}

export class LogStretches {
  readonly #options: LogStretchesOptions
  #epoch: string
  readonly #stretches = new ByteLru<KeptStretch>(stretchBounds.bytesMax)
  readonly #reading = new Map<string, Promise<KeptStretch>>()
  /** Pending reads of later edits and deletions, by segment. */
  readonly #settling = new Map<string, Promise<KeptStretch | undefined>>()
  /** Cached boundaries by conversation, least recently used first. */
  readonly #boundaries = new Map<Id, Boundaries>()
  readonly #members: Batcher<MemberPair, number | null>

  constructor(options: LogStretchesOptions) {
    this.#options = options
    this.#epoch = options.epoch()
    this.#members = new Batcher({
      run: (pairs: readonly MemberPair[]) => readMemberSeqs(options.database, pairs),
      batchMax: stretchBounds.batchMax,
      waitingMax: stretchBounds.waitingMax,
      refusal: () =>
        new ChorusError('unavailable', 'unable to look up memberships; too many requests are waiting', {
          retryAfterMs: 1_000,
        }),
    })
  }

  /**
   * Returns the top of the log, read together with the user's membership. Returns null for
   * non-members.
   */
  memberSeq(user: Id, conversation: Id): Promise<number | null> {
    return this.#members.ask({ user, conversation })
  }

  /** Returns the log from `from`: at least one change, none above `to`. The log must reach `to`. */
  async read(conversation: Id, from: number, to: number, reader: StretchReader = { top: to }): Promise<LogStretch> {
    this.#forgetOtherHistory()
    const found = await this.#find(conversation, from, to)
    return cutOut(await this.#settle(conversation, found, from, to, reader), from, to)
  }

  async #find(conversation: Id, from: number, to: number): Promise<KeptStretch> {
    if (to - from < stretchBounds.fewMax) return this.#findFew(conversation, from, to)
    let start = alignedStart(from)
    let isSecond = false
    for (;;) {
      const stretch = await this.#stretch(conversation, start, from)
      const last = stretch.changes.at(-1)?.seq
      if (last === undefined) {
        // A shared read may have started before the log reached `start`, so read once more.
        if (isSecond) throw new Error(`the log of ${conversation} has no change ${start}`)
        isSecond = true
        continue
      }
      if (last >= from) return stretch
      // This segment hit its size limit before `from`. The next one starts after it.
      start = last + 1
    }
  }

  /**
   * Returns the last seq that a client with this position has (see readBoundary), looking no higher
   * than `top`.
   *
   * `settled` is a position below which no transaction writes any more. For positions up to it the
   * boundary never changes, so it is cached. `lacksMany`: the caller will request the segment next,
   * so one read returns both.
   */
  async boundary(
    conversation: Id,
    { position, top, settled, lacksMany }: BoundaryRequest,
  ): Promise<number | undefined> {
    this.#forgetOtherHistory()
    const { database, onRead } = this.#options
    if (position > settled) return readBoundary(database, conversation, position, top)
    const known = this.#boundariesOf(conversation)
    let inferred = inferBoundary(known.byPosition, position)
    if (inferred === undefined && known.reading !== undefined) {
      // Another request is reading missed changes here. Its result mostly answers this position
      // too.
      await known.reading
      inferred = inferBoundary(known.byPosition, position)
    }
    inferred ??= this.#findInStretch(known, position, top)
    onRead?.('boundaries', inferred === undefined ? 'read' : 'local')
    const seq = await (inferred ?? this.#findBoundary(conversation, known, { position, top, lacksMany }))
    // The log has grown since the boundary was found. It may now be too far back.
    return seq === undefined || top - seq > limits.replayMaxChanges ? undefined : seq
  }

  /**
   * Reads a boundary. The first client that misses many changes reads the segment too: other
   * clients miss mostly the same.
   */
  #findBoundary(
    conversation: Id,
    known: Boundaries,
    { position, top, lacksMany }: Omit<BoundaryRequest, 'settled'>,
  ): Promise<number | undefined> {
    const { clock, database } = this.#options
    const nowMs = clock.nowMs()
    const isFirst = lacksMany && nowMs - known.missedReadAtMs >= stretchBounds.lifeMs
    if (!isFirst) return remember(known, position, readBoundary(database, conversation, position, top))
    known.missedReadAtMs = nowMs
    const finding = remember(known, position, this.#readMissed(conversation, known, position, top))
    noteReading(known, finding)
    return finding
  }

  /**
   * Searches the last full segment for the boundary. Boundaries rise with positions, so the search
   * starts at the boundary of the next later position, or at `top`.
   */
  #findInStretch(known: Boundaries, position: number, top: number): Promise<number | undefined> | undefined {
    const changes = known.stretchKey === undefined ? undefined : this.#fresh(known.stretchKey)?.changes
    const first = changes?.[0]?.seq
    if (changes === undefined || first === undefined) return undefined
    const from = nearest(known.byPosition, position).above?.seq ?? top
    if (from >= first + changes.length) return undefined
    for (let index = from - first; index >= 0; index--) {
      const change = changes[index] as LoggedChange
      if (change.xid < position) return remember(known, position, Promise.resolve(change.seq))
    }
    return first === 1 ? remember(known, position, Promise.resolve(0)) : undefined
  }

  async #readMissed(conversation: Id, known: Boundaries, position: number, top: number): Promise<number | undefined> {
    const { database, clock, epoch } = this.#options
    const begunIn = epoch()
    const readAtMs = clock.nowMs()
    const { boundary, ...stretch } = await readMissed(database, {
      conversation,
      position,
      top,
      alignment: stretchBounds.alignment,
      changesMax: stretchBounds.changesMax,
      bytesMax: stretchBounds.textMaxBytes,
    })
    if (boundary !== undefined) {
      known.stretchKey = keyOf(conversation, alignedStart(boundary + 1))
      this.#keep({ ...stretch, key: known.stretchKey, readAtMs, settledSeq: stretch.asOf }, begunIn)
    }
    return boundary
  }

  /**
   * Returns only the missing changes: from a cached segment, or by a small read that concurrent
   * clients share.
   */
  async #findFew(conversation: Id, from: number, to: number): Promise<KeptStretch> {
    const key = `${keyOf(conversation, from)} few`
    const start = alignedStart(from)
    for (const name of [key, keyOf(conversation, start), keyOf(conversation, start - stretchBounds.alignment)]) {
      const kept = this.#fresh(name)
      if (kept === undefined || (kept.changes[0]?.seq ?? 0) > from || (kept.changes.at(-1)?.seq ?? 0) < to) continue
      this.#options.onRead?.('stretches', 'local')
      return kept
    }
    const end = from + stretchBounds.fewMax - 1
    const first = await this.#readOnce(conversation, from, end, key)
    // A shared read may have started before the log reached `from`, so read once more.
    const stretch = first.changes.length > 0 ? first : await this.#readOnce(conversation, from, end, key)
    if (stretch.changes.length === 0) throw new Error(`the log of ${conversation} has no change ${from}`)
    return stretch
  }

  /** Applies the edits and deletions up to `reader.top` to the messages of a segment. */
  async #settle(
    conversation: Id,
    found: KeptStretch,
    from: number,
    to: number,
    { top, recent }: StretchReader,
  ): Promise<KeptStretch> {
    let stretch = found
    for (let looks = 0; stretch.settledSeq < top && looks < looksMax; looks++) {
      const since = recent?.range(stretch.settledSeq + 1, top)
      const settled =
        since === undefined ? await this.#readSettled(conversation, stretch) : this.#rewrite(stretch, since, top)
      // There were too many edits since: read the segment again, for this reader only.
      if (settled === undefined)
        return this.#readStretch(
          conversation,
          from,
          Math.min(to, from + stretchBounds.changesMax - 1),
          `${stretch.key} alone`,
        )
      stretch = settled
    }
    return stretch
  }

  #readSettled(conversation: Id, stretch: KeptStretch): Promise<KeptStretch | undefined> {
    const key = `${stretch.key} ${stretch.settledSeq}`
    const settling =
      this.#settling.get(key) ??
      readRewrites(this.#options.database, conversation, stretch.settledSeq)
        .then(({ rewrites, top }) =>
          rewrites.length < rewritesMax && top - stretch.settledSeq <= rewritesWalkMax
            ? this.#rewrite(stretch, rewrites, top)
            : undefined,
        )
        .finally(() => this.#settling.delete(key))
    this.#settling.set(key, settling)
    return settling
  }

  #rewrite(stretch: KeptStretch, since: readonly LoggedChange[], top: number): KeptStretch {
    const rewrites = collectRewrites(since)
    const changes = rewrites && stretch.changes.map((change) => rewritten(change, rewrites))
    const isSame = changes === undefined || changes.every((change, index) => change === stretch.changes[index])
    const settled: KeptStretch = {
      ...stretch,
      ...(!isSame && { changes, asOf: Math.max(stretch.asOf, top) }),
      settledSeq: Math.max(stretch.settledSeq, top),
    }
    // Does not overwrite a segment that was cached since.
    if (this.#stretches.get(stretch.key) === stretch) this.#keep(settled, this.#epoch)
    return settled
  }

  async #stretch(conversation: Id, start: number, from: number): Promise<KeptStretch> {
    const key = keyOf(conversation, start)
    const known = this.#boundariesOf(conversation)
    let kept = this.#keptStretch(conversation, start, from)
    if (kept === undefined && known.reading !== undefined) {
      await known.reading
      kept = this.#keptStretch(conversation, start, from)
    }
    if (kept !== undefined) return kept
    const reading = this.#readOnce(conversation, start, endOf(start), key)
    known.stretchKey = key
    noteReading(known, reading)
    return reading
  }

  /**
   * Returns the cached segment that contains `from`, or the one from `start` that hit its size
   * limit before `from`.
   */
  #keptStretch(conversation: Id, start: number, from: number): KeptStretch | undefined {
    const kept = this.#fresh(keyOf(conversation, start))
    const before = kept ?? this.#fresh(keyOf(conversation, start - stretchBounds.alignment))
    for (const stretch of [kept, before]) {
      const first = stretch?.changes.at(0)?.seq ?? Number.POSITIVE_INFINITY
      const last = stretch?.changes.at(-1)?.seq ?? 0
      if (stretch === undefined || first > from) continue
      // The segment contains `from`, or hit its size limit before it. Otherwise it ended at the
      // former top of the log.
      if (last >= from || (stretch === kept && last < Math.min(stretch.asOf, endOf(start)))) {
        this.#options.onRead?.('stretches', 'local')
        return stretch
      }
    }
    return undefined
  }

  #readOnce(conversation: Id, from: number, to: number, key: string): Promise<KeptStretch> {
    const reading = this.#reading.get(key)
    this.#options.onRead?.('stretches', reading === undefined ? 'read' : 'local')
    if (reading !== undefined) return reading
    const begun = this.#readStretch(conversation, from, to, key).finally(() => {
      if (this.#reading.get(key) === begun) this.#reading.delete(key)
    })
    this.#reading.set(key, begun)
    return begun
  }

  async #readStretch(conversation: Id, from: number, to: number, key: string): Promise<KeptStretch> {
    const { database, clock, epoch } = this.#options
    const begunIn = epoch()
    const readAtMs = clock.nowMs()
    const { changes, asOf } = await readStretch(database, { conversation, from, to }, stretchBounds.textMaxBytes)
    return this.#keep({ key, changes, asOf, readAtMs, settledSeq: asOf }, begunIn)
  }

  #fresh(key: string): KeptStretch | undefined {
    const kept = this.#stretches.get(key)
    return kept !== undefined && this.#options.clock.nowMs() - kept.readAtMs < stretchBounds.lifeMs ? kept : undefined
  }

  #keep(stretch: KeptStretch, begunIn: string): KeptStretch {
    const bytes = stretch.changes.reduce((sum, { json }) => sum + json.length + 200, 200)
    if (begunIn === this.#options.epoch() && stretch.changes.length > 0)
      this.#stretches.set(stretch.key, stretch, bytes)
    return stretch
  }

  #boundariesOf(conversation: Id): Boundaries {
    const known: Boundaries = this.#boundaries.get(conversation) ?? {
      byPosition: new Map<number, Boundary>(),
      missedReadAtMs: Number.NEGATIVE_INFINITY,
      reading: undefined,
      stretchKey: undefined,
    }
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
    this.#settling.clear()
    this.#boundaries.clear()
  }
}

/**
 * Infers a boundary from cached ones. Boundaries rise with positions, so a position between two
 * equal boundaries has the same one. If the next later position is too far back (undefined), this
 * one is too.
 */
function inferBoundary(
  known: ReadonlyMap<number, Boundary>,
  position: number,
): Promise<number | undefined> | undefined {
  const same = known.get(position)
  if (same !== undefined) return same.finding
  const { below, above } = nearest(known, position)
  if (above === undefined || (above.seq !== undefined && (below === undefined || below.seq !== above.seq)))
    return undefined
  return Promise.resolve(above.seq)
}

interface FoundBoundary {
  readonly position: number
  readonly seq: number | undefined
}

/** Returns the known boundaries of the next earlier and the next later position. */
function nearest(
  known: ReadonlyMap<number, Boundary>,
  position: number,
): { readonly below: FoundBoundary | undefined; readonly above: FoundBoundary | undefined } {
  let below: FoundBoundary | undefined
  let above: FoundBoundary | undefined
  for (const [other, { found }] of known) {
    if (found === undefined) continue
    if (other < position && (below === undefined || other > below.position)) below = { position: other, ...found }
    if (other > position && (above === undefined || other < above.position)) above = { position: other, ...found }
  }
  return { below, above }
}

/** Caches a boundary look-up. A failed look-up is removed again. */
function remember(
  { byPosition }: Boundaries,
  position: number,
  finding: Promise<number | undefined>,
): Promise<number | undefined> {
  const boundary: Boundary = { finding, found: undefined }
  byPosition.set(position, boundary)
  finding.then(
    (seq) => {
      boundary.found = { seq }
    },
    () => byPosition.delete(position),
  )
  const [oldest] = byPosition.keys()
  if (byPosition.size > stretchBounds.boundariesEachMax && oldest !== undefined) byPosition.delete(oldest)
  return finding
}

/** Marks a read as pending. Waiting requests continue when it ends, also when it fails. */
function noteReading(known: Boundaries, read: Promise<unknown>): void {
  const over = (): void => {
    if (known.reading === reading) known.reading = undefined
  }
  const reading = read.then(over, over)
  known.reading = reading
}

function keyOf(conversation: Id, start: number): string {
  return `${conversation}:${start}`
}

function alignedStart(seq: number): number {
  return seq - ((seq - 1) % stretchBounds.alignment)
}

/** Returns the last seq of the segment that starts at `start`. */
function endOf(start: number): number {
  return alignedStart(start) + stretchBounds.changesMax - 1
}

function cutOut({ changes, asOf }: LogStretch, from: number, to: number): LogStretch {
  const first = changes[0]?.seq ?? from
  return { changes: changes.slice(from - first, to - first + 1), asOf }
}
