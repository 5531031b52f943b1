/**
 * Caches segments (ranges of consecutive changes) of the logs, so that changes missed by many
 * clients are read once (rule LIM2).
 *
 * Background: after an outage many clients resume at once. They have missed the same changes, more
 * than the caches of recent changes contain. One read per client would overload the database. This
 * cache keeps segments for a few seconds within a byte limit. It also keeps boundaries: the last
 * seq that a client with a cursor at a given position already has.
 *
 * A segment records the last seq of the log at its read (`asOf`) and shows messages as of then. So
 * it may be sent only with a membership proof that covers that seq (rule ACL1).
 *
 * A cached segment may contain texts that have been edited or deleted since. The caller passes the
 * last seq of the log that it knows. If the segment is older, later edits and deletions are applied
 * to it first (rule ERASE1). They come from the recent changes or from one read that concurrent
 * callers share.
 */
import { type Id, limits } from '@chorus/protocol'
import { ByteLru } from '../support/byte-lru.ts'
import type { Clock } from '../support/clock.ts'
import type { Database } from '../database/database.ts'
import type { LoggedChange } from '../support/logged-change.ts'
import { collectRewrites, rewritten } from '../support/message-state.ts'
import {
  type LogSegment,
  readBoundary,
  readMissed,
  readRewrites,
  readSegment,
  rewritesMax,
  rewritesWalkMax,
} from '../log/read-changes.ts'
import { Boundaries } from './boundaries.ts'

export const segmentLimits = {
  /**
   * Segments start after the seqs that are multiples of this number, so that clients share them. A
   * segment may also start where another one reached its size limit.
   */
  alignment: 1_000,
  /**
   * Maximum number of changes in a segment: twice the alignment, so that a client that has missed
   * at most `alignment` changes needs one segment.
   */
  changesMax: 2_000,
  /**
   * Clients that have missed at most this many changes get a small read instead of a full segment.
   */
  fewMax: 256,
  /** Maximum bytes of text in one segment. */
  textMaxBytes: 2_000_000,
  /** Maximum size of all cached segments, as JSON. */
  bytesMax: 16_000_000,
  /** Time for which a cached segment is reused. */
  lifeMs: 10_000,
  /** Maximum number of conversations with cached boundaries. */
  boundariesMax: 5_000,
} as const

export interface LogSegmentCacheOptions {
  readonly database: Database
  readonly clock: Clock
  readonly epoch: () => string
  /**
   * Reports where each requested segment or boundary came from: the cache (`local`) or a database
   * read (`read`).
   */
  readonly onRead?: (what: 'segments' | 'boundaries', outcome: 'local' | 'read') => void
}

interface CachedSegment extends LogSegment {
  readonly key: string
  readonly readAtMs: number
  /** Seq up to which all edits and deletions are applied to the segment. */
  readonly settledSeq: number
}

/** State of the log that the caller knows when it requests a segment. */
export interface SegmentReader {
  readonly top: number
  /** Cache of recent changes. It may contain the changes up to `top`. */
  readonly recent?: { range(from: number, to: number): readonly LoggedChange[] | undefined } | undefined
}

/**
 * Maximum number of passes that apply later edits and deletions. A second pass is needed when the
 * first one was shared and started too early.
 */
const looksMax = 2

export interface BoundaryRequest {
  readonly position: number
  readonly top: number
  readonly settled: number
  readonly lacksMany: boolean
}

export class LogSegmentCache {
  readonly #options: LogSegmentCacheOptions
  #epoch: string
  readonly #segments = new ByteLru<CachedSegment>(segmentLimits.bytesMax)
  readonly #reading = new Map<string, Promise<CachedSegment>>()
  /** Pending reads of edits and deletions made after a segment was read, by segment. */
  readonly #settling = new Map<string, Promise<CachedSegment | undefined>>()
  /** Cached boundaries by conversation, least recently used first. */
  readonly #boundaries = new Map<Id, Boundaries>()

  constructor(options: LogSegmentCacheOptions) {
    this.#options = options
    this.#epoch = options.epoch()
  }

  /**
   * Returns changes of the log from `from`: at least one change, none above `to`. The log must
   * reach `to`.
   */
  async read(conversation: Id, from: number, to: number, reader: SegmentReader = { top: to }): Promise<LogSegment> {
    this.#forgetOtherHistory()
    const found = await this.#find(conversation, from, to)
    return cutOut(await this.#settle(conversation, found, from, to, reader), from, to)
  }

  async #find(conversation: Id, from: number, to: number): Promise<CachedSegment> {
    if (to - from < segmentLimits.fewMax) return this.#findFew(conversation, from, to)
    let start = alignedStart(from)
    let isSecond = false
    for (;;) {
      const segment = await this.#segment(conversation, start, from)
      const last = segment.changes.at(-1)?.seq
      if (last === undefined) {
        // A shared read may have started before the log reached `start`, so read once more.
        if (isSecond) throw new Error(`the log of ${conversation} has no change ${start}`)
        isSecond = true
        continue
      }
      if (last >= from) return segment
      // This segment reached its size limit before `from`. The next one starts after it.
      start = last + 1
    }
  }

  /**
   * Returns the last seq that a client with a cursor at this position has (see readBoundary),
   * looking no higher than `top`.
   *
   * `settled` is a position before which all transactions have ended. For positions up to it the
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
    let inferred = known.infer(position)
    if (inferred === undefined && known.reading !== undefined) {
      // Another request is reading missed changes of this conversation. Its result mostly answers
      // this request, too.
      await known.reading
      inferred = known.infer(position)
    }
    inferred ??= this.#findInSegment(known, position, top)
    onRead?.('boundaries', inferred === undefined ? 'read' : 'local')
    const seq = await (inferred ?? this.#findBoundary(conversation, known, { position, top, lacksMany }))
    // The log has grown since the boundary was found. It may now be too far back.
    return seq === undefined || top - seq > limits.replayMaxChanges ? undefined : seq
  }

  /**
   * Reads a boundary. The first client that has missed many changes reads the segment, too, because
   * other clients have mostly missed the same changes.
   */
  #findBoundary(
    conversation: Id,
    known: Boundaries,
    { position, top, lacksMany }: Omit<BoundaryRequest, 'settled'>,
  ): Promise<number | undefined> {
    const { clock, database } = this.#options
    const nowMs = clock.nowMs()
    const isFirst = lacksMany && nowMs - known.missedReadAtMs >= segmentLimits.lifeMs
    if (!isFirst) return known.remember(position, readBoundary(database, conversation, position, top))
    known.missedReadAtMs = nowMs
    const finding = known.remember(position, this.#readMissed(conversation, known, position, top))
    known.noteReading(finding)
    return finding
  }

  /**
   * Searches the last full segment for the boundary. A later position never has a lower boundary,
   * so the search starts at the boundary of the next later position, or at `top`.
   */
  #findInSegment(known: Boundaries, position: number, top: number): Promise<number | undefined> | undefined {
    const changes = known.segmentKey === undefined ? undefined : this.#fresh(known.segmentKey)?.changes
    const first = changes?.[0]?.seq
    if (changes === undefined || first === undefined) return undefined
    const from = known.nearest(position).above?.seq ?? top
    if (from >= first + changes.length) return undefined
    for (let index = from - first; index >= 0; index--) {
      const change = changes[index] as LoggedChange
      if (change.xid < position) return known.remember(position, Promise.resolve(change.seq))
    }
    return first === 1 ? known.remember(position, Promise.resolve(0)) : undefined
  }

  async #readMissed(conversation: Id, known: Boundaries, position: number, top: number): Promise<number | undefined> {
    const { database, clock, epoch } = this.#options
    const begunIn = epoch()
    const readAtMs = clock.nowMs()
    const { boundary, ...segment } = await readMissed(database, {
      conversation,
      position,
      top,
      alignment: segmentLimits.alignment,
      changesMax: segmentLimits.changesMax,
      bytesMax: segmentLimits.textMaxBytes,
    })
    if (boundary !== undefined) {
      known.segmentKey = keyOf(conversation, alignedStart(boundary + 1))
      this.#keep({ ...segment, key: known.segmentKey, readAtMs, settledSeq: segment.asOf }, begunIn)
    }
    return boundary
  }

  /**
   * Returns only the missing changes: from a cached segment, or by a small read that concurrent
   * clients share.
   */
  async #findFew(conversation: Id, from: number, to: number): Promise<CachedSegment> {
    const key = `${keyOf(conversation, from)} few`
    const start = alignedStart(from)
    for (const name of [key, keyOf(conversation, start), keyOf(conversation, start - segmentLimits.alignment)]) {
      const kept = this.#fresh(name)
      if (kept === undefined || (kept.changes[0]?.seq ?? 0) > from || (kept.changes.at(-1)?.seq ?? 0) < to) continue
      this.#options.onRead?.('segments', 'local')
      return kept
    }
    const end = from + segmentLimits.fewMax - 1
    const first = await this.#readOnce(conversation, from, end, key)
    // A shared read may have started before the log reached `from`, so read once more.
    const segment = first.changes.length > 0 ? first : await this.#readOnce(conversation, from, end, key)
    if (segment.changes.length === 0) throw new Error(`the log of ${conversation} has no change ${from}`)
    return segment
  }

  /** Applies the edits and deletions up to `reader.top` to the messages of a segment. */
  async #settle(
    conversation: Id,
    found: CachedSegment,
    from: number,
    to: number,
    { top, recent }: SegmentReader,
  ): Promise<CachedSegment> {
    let segment = found
    for (let looks = 0; segment.settledSeq < top && looks < looksMax; looks++) {
      const since = recent?.range(segment.settledSeq + 1, top)
      const settled =
        since === undefined ? await this.#readSettled(conversation, segment) : this.#rewrite(segment, since, top)
      // Too many edits were made since the segment was read: read it again, for this caller only.
      if (settled === undefined)
        return this.#readSegment(
          conversation,
          from,
          Math.min(to, from + segmentLimits.changesMax - 1),
          `${segment.key} alone`,
        )
      segment = settled
    }
    return segment
  }

  #readSettled(conversation: Id, segment: CachedSegment): Promise<CachedSegment | undefined> {
    const key = `${segment.key} ${segment.settledSeq}`
    const settling =
      this.#settling.get(key) ??
      readRewrites(this.#options.database, conversation, segment.settledSeq)
        .then(({ rewrites, top }) =>
          rewrites.length < rewritesMax && top - segment.settledSeq <= rewritesWalkMax
            ? this.#rewrite(segment, rewrites, top)
            : undefined,
        )
        .finally(() => this.#settling.delete(key))
    this.#settling.set(key, settling)
    return settling
  }

  #rewrite(segment: CachedSegment, since: readonly LoggedChange[], top: number): CachedSegment {
    const rewrites = collectRewrites(since)
    const changes = rewrites && segment.changes.map((change) => rewritten(change, rewrites))
    const isSame = changes === undefined || changes.every((change, index) => change === segment.changes[index])
    const settled: CachedSegment = {
      ...segment,
      ...(!isSame && { changes, asOf: Math.max(segment.asOf, top) }),
      settledSeq: Math.max(segment.settledSeq, top),
    }
    // Do not overwrite a segment that was cached since.
    if (this.#segments.get(segment.key) === segment) this.#keep(settled, this.#epoch)
    return settled
  }

  async #segment(conversation: Id, start: number, from: number): Promise<CachedSegment> {
    const key = keyOf(conversation, start)
    const known = this.#boundariesOf(conversation)
    let kept = this.#cachedSegment(conversation, start, from)
    if (kept === undefined && known.reading !== undefined) {
      await known.reading
      kept = this.#cachedSegment(conversation, start, from)
    }
    if (kept !== undefined) return kept
    const reading = this.#readOnce(conversation, start, endOf(start), key)
    known.segmentKey = key
    known.noteReading(reading)
    return reading
  }

  /**
   * Returns the cached segment that contains `from`, or the one from `start` that reached its size
   * limit before `from`.
   */
  #cachedSegment(conversation: Id, start: number, from: number): CachedSegment | undefined {
    const kept = this.#fresh(keyOf(conversation, start))
    const before = kept ?? this.#fresh(keyOf(conversation, start - segmentLimits.alignment))
    for (const segment of [kept, before]) {
      const first = segment?.changes.at(0)?.seq ?? Number.POSITIVE_INFINITY
      const last = segment?.changes.at(-1)?.seq ?? 0
      if (segment === undefined || first > from) continue
      // Use the segment if it contains `from`, or if it reached its size limit before `from`.
      // Otherwise it ended at the former end of the log.
      if (last >= from || (segment === kept && last < Math.min(segment.asOf, endOf(start)))) {
        this.#options.onRead?.('segments', 'local')
        return segment
      }
    }
    return undefined
  }

  #readOnce(conversation: Id, from: number, to: number, key: string): Promise<CachedSegment> {
    const reading = this.#reading.get(key)
    this.#options.onRead?.('segments', reading === undefined ? 'read' : 'local')
    if (reading !== undefined) return reading
    const begun = this.#readSegment(conversation, from, to, key).finally(() => {
      if (this.#reading.get(key) === begun) this.#reading.delete(key)
    })
    this.#reading.set(key, begun)
    return begun
  }

  async #readSegment(conversation: Id, from: number, to: number, key: string): Promise<CachedSegment> {
    const { database, clock, epoch } = this.#options
    const begunIn = epoch()
    const readAtMs = clock.nowMs()
    const { changes, asOf } = await readSegment(database, { conversation, from, to }, segmentLimits.textMaxBytes)
    return this.#keep({ key, changes, asOf, readAtMs, settledSeq: asOf }, begunIn)
  }

  #fresh(key: string): CachedSegment | undefined {
    const kept = this.#segments.get(key)
    return kept !== undefined && this.#options.clock.nowMs() - kept.readAtMs < segmentLimits.lifeMs ? kept : undefined
  }

  #keep(segment: CachedSegment, begunIn: string): CachedSegment {
    const bytes = segment.changes.reduce((sum, { json }) => sum + json.length + 200, 200)
    if (begunIn === this.#options.epoch() && segment.changes.length > 0) this.#segments.set(segment.key, segment, bytes)
    return segment
  }

  #boundariesOf(conversation: Id): Boundaries {
    const known = this.#boundaries.get(conversation) ?? new Boundaries()
    this.#boundaries.delete(conversation)
    this.#boundaries.set(conversation, known)
    const [oldest] = this.#boundaries.keys()
    if (this.#boundaries.size > segmentLimits.boundariesMax && oldest !== undefined) this.#boundaries.delete(oldest)
    return known
  }

  #forgetOtherHistory(): void {
    const epoch = this.#options.epoch()
    if (epoch === this.#epoch) return
    this.#epoch = epoch
    this.#segments.clear()
    this.#reading.clear()
    this.#settling.clear()
    this.#boundaries.clear()
  }
}

function keyOf(conversation: Id, start: number): string {
  return `${conversation}:${start}`
}

function alignedStart(seq: number): number {
  return seq - ((seq - 1) % segmentLimits.alignment)
}

/** Returns the highest seq that the segment from `start` may contain. */
function endOf(start: number): number {
  return alignedStart(start) + segmentLimits.changesMax - 1
}

function cutOut({ changes, asOf }: LogSegment, from: number, to: number): LogSegment {
  const first = changes[0]?.seq ?? from
  return { changes: changes.slice(from - first, to - first + 1), asOf }
}
