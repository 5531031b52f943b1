/**
 * Catch-up: reads what a client has missed, for resuming connections, joins, syncs and the newest
 * page of the history. All of them read through this interface; the caches behind it are private.
 *
 * Background. A client returns with a cursor (log/cursor.ts). In each conversation that has changed
 * since, it needs every change after the last one that it has, or the newest page if it has missed
 * more than 10 000 changes. After a server fails, thousands of clients return to the other servers
 * within seconds, and most of them have missed the same changes.
 *
 * The naive way. Each client finds its last change and reads the log from there. Then a thousand
 * clients of one conversation read the same rows a thousand times. The storm of reads delays the
 * appends and the memberships on the same database, requests time out, and their clients return
 * once more. A plain cache in front of the reads is wrong in two ways. It shows a text that was
 * written after the reader's removal (ACL1), or a text that has been deleted since (ERASE1).
 *
 * Ours. Clients share reads, and every shared result records which state of the log it shows.
 *
 * 1. `load` brings the recent changes of the conversations that have changed, several in one
 *    statement, at most one read of a conversation at a time.
 * 2. `plan` decides for each membership: the removal, the changes after a boundary, or the newest
 *    page. The boundary is the last seq that a client with this position has. It comes from the
 *    recent changes, else from the cached boundaries, else from a read that also returns the first
 *    segment. The plan contains the proof that the user was a member at `seq`.
 * 3. `frames` and `read` return the changes up to the seq of the proof, from the first place that
 *    has them: the recent changes (already encoded in `frames`), a cached segment, or a read that
 *    concurrent callers share. `page` does the same for the newest page: this process, Redis, a
 *    read. The feed delivers everything later, so a catch-up ends even while the log grows.
 *
 * Membership (ACL1) is never cached. Cached data shows the log as of some seq (`asOf`). A proof
 * covers it up to the seq at which the membership was read. Data that shows a later state is
 * returned only with a renewed proof: one batched statement reads the membership again, and a user
 * who is no longer a member gets nothing.
 *
 * Erasure (ERASE1). Edits and deletions are applied to the recent changes when they arrive, and to
 * a segment before it is returned. A page is cached under its seq, so a deletion, which raises the
 * seq, hides all earlier pages. While a caller waits for its client to drain, `isCurrent` turns
 * false with the next edit or deletion, and the caller reads the rest again.
 *
 * Limits. Recent changes: 256 changes or 256 kB for a conversation, 64 MB for all; 50 conversations
 * in a statement, 3 statements at a time. Segments: 2 000 changes or 2 MB each, 16 MB for all,
 * reused for 10 s. Boundaries: 32 for a conversation, 5 000 conversations. Pages: 1 MB each, 16 MB
 * here, 30 s in Redis; at most 4 reads of a conversation's page in 200 ms for resuming clients. So
 * the reads of a conversation grow with the changes missed, not with the clients that missed them
 * (LIM2): one for its recent changes, and one for each 2 000 older ones.
 *
 * Every cache may be emptied at any time: callers then read the database. A change of the database
 * epoch empties all of them (RES2).
 */
import { ChorusError, type Id, type MessagePage } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { readNewestChanges, readRange } from '../log/read-changes.ts'
import type { MemberPair } from '../log/read-latest-pages.ts'
import { readMemberSeqs } from '../log/read-member-seqs.ts'
import { Batcher } from '../support/batcher.ts'
import type { Clock } from '../support/clock.ts'
import type { LoggedChange } from '../support/logged-change.ts'
import type { CacheOutcome, SharedCache } from '../redis/shared-cache.ts'
import { LatestPageCache } from './latest-page-cache.ts'
import { LogSegmentCache } from './log-segment-cache.ts'
import { MembershipProof } from './membership-proof.ts'
import type { RecentChanges, ReplayFrame } from './recent-changes.ts'
import { RecentChangesCache, type RecentWanted } from './recent-changes-cache.ts'
import { type PlanRequest, planStep, type ReplayStep } from './replay.ts'
import type { ServedLog } from './served-log.ts'

const proofLimits = { batchMax: 500, waitingMax: 20_000 } as const

export interface CatchUpOptions {
  readonly database: Database
  /** Cache of pages in Redis, shared by all servers. Set only when several servers run. */
  readonly cache?: Pick<SharedCache, 'read' | 'write'> | undefined
  readonly clock: Clock
  readonly epoch: () => string
  /**
   * Reports where each result came from: this process (`local`), an outcome of the Redis cache, or
   * a database read (`read`).
   */
  readonly onRead?: (cache: 'pages' | 'segments' | 'boundaries', outcome: CacheOutcome | 'local' | 'read') => void
}

/** Recent changes of one conversation. Its feed adds new changes. */
export type RecentRun = Pick<
  RecentChanges,
  'append' | 'asOf' | 'endAt' | 'follow' | 'newestSeq' | 'noteRead' | 'range' | 'retire'
>

/** Changes that a client has missed and that may be sent to it. */
interface Sendable {
  /**
   * Returns false when one of the messages may have been edited or deleted since. The changes not
   * sent yet must then be read again (rule ERASE1).
   */
  readonly isCurrent: () => boolean
}

export interface MissedFrames extends Sendable {
  readonly frames: readonly ReplayFrame[]
}

export interface MissedChanges extends Sendable {
  /** Consecutive changes from the first requested seq: at least one change, but maybe not all. */
  readonly changes: readonly LoggedChange[]
  /** Proof of membership that covers these changes: the caller's, or a renewed one. */
  readonly proof: MembershipProof
}

export class CatchUp {
  readonly #database: Database
  readonly #recent: RecentChangesCache
  readonly #segments: LogSegmentCache
  readonly #pages: LatestPageCache
  readonly #members: Batcher<MemberPair, number | null>

  constructor({ database, cache, clock, epoch, onRead }: CatchUpOptions) {
    this.#database = database
    this.#recent = new RecentChangesCache({
      read: (wanted, extent) => readNewestChanges(database, wanted, extent),
      clock,
      epoch,
    })
    this.#segments = new LogSegmentCache({ database, clock, epoch, ...(onRead && { onRead }) })
    this.#pages = new LatestPageCache({
      database,
      cache,
      clock,
      epoch,
      ...(onRead && { onRead: (outcome) => onRead('pages', outcome) }),
    })
    this.#members = new Batcher({
      run: (pairs: readonly MemberPair[]) => readMemberSeqs(database, pairs),
      ...proofLimits,
      refusal: () =>
        new ChorusError('unavailable', 'unable to look up memberships; too many requests are waiting', {
          retryAfterMs: 1_000,
        }),
    })
  }

  /**
   * Opens the cache of recent changes for the feed of a conversation. The feed ends it with
   * `retire`.
   */
  serve(conversation: Id, log: ServedLog): RecentRun {
    return this.#recent.serve(conversation, log)
  }

  /**
   * Loads the recent changes of the wanted conversations that this server serves, where the cached
   * changes do not suffice for a client whose cursor is at `position`.
   */
  load(wanted: readonly RecentWanted[], position: number): Promise<void> {
    return this.#recent.load(wanted, position)
  }

  /** Reads the membership of a user and returns its proof. Returns undefined for non-members. */
  async prove(user: Id, conversation: Id): Promise<MembershipProof | undefined> {
    const seq = await this.#members.ask({ user, conversation })
    return seq === null ? undefined : new MembershipProof(user, conversation, seq)
  }

  /** Plans what to send of one conversation. Returns undefined when there is nothing to send. */
  plan(request: PlanRequest): Promise<ReplayStep | undefined> {
    return planStep(this.#segments, this.#recent.get(request.membership.conversation), request)
  }

  /**
   * Returns the changes from `from` up to the proof's seq, encoded once for all clients that have
   * missed them. Returns undefined when the recent changes do not contain all of them, or show a
   * later state of the messages.
   */
  frames(proof: MembershipProof, from: number): MissedFrames | undefined {
    const recent = this.#recent.get(proof.conversation)
    // Changes read as of a later seq may show an edit that was made after this user's removal
    // (ACL1).
    if (recent === undefined || recent.newestSeq < proof.seq || !proof.covers(recent.asOf)) return undefined
    const frames = recent.frames(from, proof.seq)
    return frames && { frames, isCurrent: () => proof.covers(recent.asOf) }
  }

  /**
   * Returns changes from `from`, none above `to`; the log must reach `to`. Returns undefined if the
   * changes show a later state of the log than the proof covers and the user is no longer a member.
   */
  async read(proof: MembershipProof, from: number, to: number): Promise<MissedChanges | undefined> {
    const { user, conversation, seq } = proof
    const recent = this.#recent.get(conversation)
    const rewrittenSeq = recent?.log?.rewrittenSeq
    // If the recent changes end below the proof's seq, they may lack an edit or a deletion that
    // existed when the proof was read.
    const known = recent === undefined || recent.newestSeq < seq ? undefined : recent.range(from, to)
    const { changes, asOf } =
      recent === undefined || known === undefined
        ? await this.#segments.read(conversation, from, to, {
            top: Math.max(seq, recent?.log?.headSeq ?? 0),
            recent,
          })
        : { changes: known, asOf: Math.max(recent.asOf, to) }
    const renewed = proof.covers(asOf) ? proof : await this.prove(user, conversation)
    return renewed && { changes, proof: renewed, isCurrent: () => recent?.log?.rewrittenSeq === rewrittenSeq }
  }

  /**
   * Returns the newest page, at most 256 kB, for a `conversation` event or an entry of a sync.
   * Returns undefined if the page had to be read from the database and the user is no longer a
   * member.
   *
   * @param oldestSeq - the lowest page seq that the caller accepts, because it also sends the
   * changes
   *   after the page. Without it, the page is as of the proof's seq or later
   */
  page(proof: MembershipProof, oldestSeq?: number): Promise<MessagePage | undefined> {
    const { user, conversation, seq } = proof
    const recent = this.#recent.get(conversation)
    // A message was edited or deleted since the membership was read, so a cached page could show
    // the old text (ERASE1).
    if ((recent?.log?.rewrittenSeq ?? 0) > seq) return this.#pages.newest(user, conversation)
    if (oldestSeq === undefined) return this.#pages.at(proof)
    return this.#pages.at(proof, () => {
      const oldest = recent?.oldestPageSeq(seq)
      return oldest === undefined ? undefined : Math.max(oldest, Math.min(oldestSeq, seq))
    })
  }

  /** Returns the newest page, at most 256 kB, for a join. Returns undefined for non-members. */
  newestPage(user: Id, conversation: Id): Promise<MessagePage | undefined> {
    return this.#pages.newest(user, conversation)
  }

  /** Returns the newest `limit` messages of the conversation. Returns undefined for non-members. */
  newestMessages(user: Id, conversation: Id, limit: number): Promise<MessagePage | undefined> {
    return this.#pages.newestOf(user, conversation, limit)
  }

  /** Returns the user's own removal: the only change that a removed user may still see. */
  async readRemoval(conversation: Id, leftSeq: number): Promise<LoggedChange | undefined> {
    const [removal] = await readRange(this.#database, { conversation, from: leftSeq, to: leftSeq }, 1)
    return removal
  }
}
