/**
 * What many clients missed at once, read once for all of them (rule LIM2): stretches of the log beyond what the feeds keep,
 * and from which seq on a cursor's holder lacks it. Kept in this process for a moment, within a budget of bytes.
 *
 * A stretch says as of which seq it was read. A message in it is as it was then, so it may be shown only to somebody who was
 * seen to be a member at that seq or later (rule ACL1).
 *
 * A stretch that is kept shows texts that may have been edited or deleted since. The reader says how far the log goes; where
 * that is further than the stretch was looked at, the edits and deletions between are read, once for all who ask, or taken
 * from the recent changes, and the stretch is brought to that state first (rule ERASE1).
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
  /** Stretches begin after multiples of this, or where the one before had to end, so that they are shared… */
  alignment: 1_000,
  /** …and go on for twice as much, so that whoever missed no more than that needs one. */
  changesMax: 2_000,
  /** Who lacks no more than this is not read a whole stretch for. */
  fewMax: 256,
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
  readonly key: string
  readonly readAtMs: number
  /** Every edit and deletion up to this seq is in it. */
  readonly settledSeq: number
}

/** How far the reader of a stretch knows the log to go. */
export interface StretchReader {
  readonly top: number
  /** Where the changes up to there may be at hand. */
  readonly recent?: { range(from: number, to: number): readonly LoggedChange[] | undefined } | undefined
}

/** Looks at edits and deletions since a stretch was read; a second one, where the first had begun too early. */
const looksMax = 2

/** From which seq on the holder of a position lacks everything; `found` when that is known. */
interface Boundary {
  readonly finding: Promise<number | undefined>
  found: { readonly seq: number | undefined } | undefined
}

/** Of one conversation. */
interface Boundaries {
  readonly byPosition: Map<number, Boundary>
  /** When a boundary was last read with its stretch. */
  missedReadAtMs: number
  /** A whole stretch is being read, with a boundary or without: mostly it has what others ask for meanwhile… */
  reading: Promise<void> | undefined
  /** …and this is where the last one is kept. */
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
  /** Looks at what was edited or deleted since, by stretch. */
  readonly #settling = new Map<string, Promise<KeptStretch | undefined>>()
  /** By conversation, the least recently used first: the boundary of each position that was asked for. */
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
        new ChorusError('unavailable', 'unable to look up memberships; too many wait for it', { retryAfterMs: 1_000 }),
    })
  }

  /** The top of the log, seen together with the membership of this user; null when they are no member. */
  memberSeq(user: Id, conversation: Id): Promise<number | null> {
    return this.#members.ask({ user, conversation })
  }

  /** The log from `from` on, at least one change and none above `to`, which the log reaches. */
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
        // A read under way may have begun before there was anything.
        if (isSecond) throw new Error(`the log of ${conversation} lacks its change ${start}`)
        isSecond = true
        continue
      }
      if (last >= from) return stretch
      // It had to end before: the next one begins there.
      start = last + 1
    }
  }

  /**
   * The seq after which the holder of this position lacks everything, up to `top` (see readBoundary). `settled`: a position
   * below which nothing is written any more. Below it the answer stands for good, however far the log goes on. `lacksMany`:
   * the stretch will be asked for next, and comes with the same read.
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
      // Somebody reads what was missed here: mostly it says it for this position, too.
      await known.reading
      inferred = inferBoundary(known.byPosition, position)
    }
    inferred ??= this.#findInStretch(known, position, top)
    onRead?.('boundaries', inferred === undefined ? 'read' : 'local')
    const seq = await (inferred ?? this.#findBoundary(conversation, known, { position, top, lacksMany }))
    // The log has gone on since it was found.
    return seq === undefined || top - seq > limits.replayMaxChanges ? undefined : seq
  }

  /** Of those who lack many the first brings the stretch with it: the others lack much the same. */
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

  /** Boundaries rise with positions: below that of a later one, or else the top, the stretch read last may show this one. */
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

  /** Only these, unless they are kept; shared by all who lack the same. */
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
    // One under way may have begun before there was anything.
    const stretch = first.changes.length > 0 ? first : await this.#readOnce(conversation, from, end, key)
    if (stretch.changes.length === 0) throw new Error(`the log of ${conversation} lacks its change ${from}`)
    return stretch
  }

  /** Brings a stretch to the state that its messages have when the log stands at `reader.top`. */
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
      // More was edited since than is read for this: a new one is read, for this reader alone.
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
    // Unless another one is kept by now.
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

  /** What is kept of the stretch that begins at `start`, as far as `from`, or says that it had to end before it. */
  #keptStretch(conversation: Id, start: number, from: number): KeptStretch | undefined {
    const kept = this.#fresh(keyOf(conversation, start))
    const before = kept ?? this.#fresh(keyOf(conversation, start - stretchBounds.alignment))
    for (const stretch of [kept, before]) {
      const first = stretch?.changes.at(0)?.seq ?? Number.POSITIVE_INFINITY
      const last = stretch?.changes.at(-1)?.seq ?? 0
      if (stretch === undefined || first > from) continue
      // It has what is wanted, or had to end before it. Otherwise it ended with the log as it was.
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

/** Boundaries rise with positions: between two that are the same there is no other, and below one too far back all are. */
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

/** The boundaries found of the next earlier and the next later position. */
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

/** A failed look-up is not remembered. */
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

/** Others wait for its end, however it ends. */
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

/** Last seq of the stretch that begins at `start`. */
function endOf(start: number): number {
  return alignedStart(start) + stretchBounds.changesMax - 1
}

function cutOut({ changes, asOf }: LogStretch, from: number, to: number): LogStretch {
  const first = changes[0]?.seq ?? from
  return { changes: changes.slice(from - first, to - first + 1), asOf }
}
