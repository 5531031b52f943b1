/**
 * Caches the newest page of busy conversations, so that one read serves many clients.
 *
 * Pages are cached under (conversation, seq). Every change raises the seq, so no entry is ever
 * invalidated. A page older than the log is sent only to clients that also receive the changes
 * after it. The first level of the cache is this process: the most recently used pages within a
 * byte limit. The second level is Redis: pages that were requested more than once, encrypted.
 *
 * The cache never decides membership (rule ACL1). A page is sent only with a membership proof that
 * covers its seq, or it comes from a statement that checks membership. For resuming clients, a
 * conversation's page is read at most `readsPerWindow` times in `windowMs` (rule LIM2).
 */
import { ChorusError, type Id, type MessagePage, PROTOCOL_VERSION } from '@chorus/protocol'
import { Batcher } from '../support/batcher.ts'
import { ByteLru } from '../support/byte-lru.ts'
import type { Clock } from '../support/clock.ts'
import type { CacheOutcome, SharedCache } from '../redis/shared-cache.ts'
import type { Database } from '../database/database.ts'
import { readMessagePage, readNewestPage, trimNewestPage } from '../log/read-messages.ts'
import {
  type MemberPair,
  readNewestPages,
  type SharedPage,
  sharedPageLimits,
  showPage,
} from '../log/read-latest-pages.ts'
import type { MembershipProof } from './membership-proof.ts'

export const latestPageLimits = {
  /** Maximum size of the pages cached in this process, as JSON. */
  bytesMax: 16_000_000,
  /** Time for which a cached page stays in Redis. */
  lifeMs: 30_000,
  readsPerWindow: 4,
  windowMs: 200,
  batchMax: 200,
  waitingMax: 20_000,
} as const

export interface LatestPageCacheOptions {
  readonly database: Database
  /** Cache in Redis, shared by all servers. Set only when several servers run. */
  readonly cache?: Pick<SharedCache, 'read' | 'write'> | undefined
  readonly clock: Clock
  readonly epoch: () => string
  /**
   * Reports where each requested page came from: this process (`local`), an outcome of the Redis
   * cache, or a database read (`read`).
   */
  readonly onRead?: (outcome: CacheOutcome | 'local' | 'read') => void
}

/** Cached newest page of a conversation. */
interface Kept {
  readonly seq: number
  /** The page. Undefined when it is too large to share. */
  readonly page: SharedPage | undefined
  isWritten: boolean
}

interface Ask extends MemberPair {
  /** Cached pages that are acceptable. Undefined when the database must check the membership. */
  readonly accepted: Accepted | undefined
}

/** Membership proof of a request, and the lowest page seq that the request accepts. */
interface Accepted {
  readonly proof: MembershipProof
  /**
   * Returns the lowest page seq that the caller accepts, because it also has the changes after the
   * page. Called only if an older page is cached.
   */
  readonly oldestSeq: (() => number | undefined) | undefined
}

type Answer = { readonly kind: 'stranger' } | { readonly kind: 'kept'; readonly kept: Kept }

export class LatestPageCache {
  readonly #options: LatestPageCacheOptions
  #epoch: string
  readonly #pages = new ByteLru<Kept>(latestPageLimits.bytesMax)
  readonly #reads: Batcher<Ask, Answer>
  /** Pending reads from Redis, by key. */
  readonly #fetching = new Map<string, Promise<Kept | undefined>>()
  /** Number of database reads of a conversation's page in the current window. */
  readonly #recentReads = new Map<Id, number>()
  #window: Promise<void> | undefined

  constructor(options: LatestPageCacheOptions) {
    this.#options = options
    this.#epoch = options.epoch()
    this.#reads = new Batcher({
      run: (asks: readonly Ask[]) => this.#run(asks),
      batchMax: latestPageLimits.batchMax,
      waitingMax: latestPageLimits.waitingMax,
      refusal: () =>
        new ChorusError('unavailable', 'unable to show the newest messages; too many requests are waiting', {
          retryAfterMs: 1_000,
        }),
    })
  }

  /**
   * Returns the newest page, at most 256 kB, for a user with a membership proof. Returns undefined
   * if the page had to be read from the database and the user is no longer a member.
   *
   * @param oldestSeq - returns the lowest page seq that the caller accepts, because it adds the
   * changes
   *   after the page. Without it, a busy conversation's page would be read again for nearly every
   *   client (rule LIM2)
   */
  async at(proof: MembershipProof, oldestSeq?: Accepted['oldestSeq']): Promise<MessagePage | undefined> {
    const { user, conversation, seq } = proof
    const accepted = { proof, oldestSeq }
    const kept = this.#known(conversation)
    if (kept !== undefined && isAccepted(kept, accepted)) {
      this.#options.onRead?.('local')
      this.#share(conversation, kept)
      return this.#show(kept, user, conversation)
    }
    const fetched = await this.#fetch(conversation, seq)
    if (fetched !== undefined) return this.#show(fetched, user, conversation)
    while ((this.#recentReads.get(conversation) ?? 0) >= latestPageLimits.readsPerWindow) await this.#window
    return this.#read({ user, conversation, accepted })
  }

  /** Returns the newest page, at most 256 kB. Returns undefined for non-members. */
  newest(user: Id, conversation: Id): Promise<MessagePage | undefined> {
    return this.#read({ user, conversation, accepted: undefined })
  }

  /**
   * Returns the newest `limit` messages, like `readMessagePage`. Returns undefined for non-members.
   */
  async newestOf(user: Id, conversation: Id, limit: number): Promise<MessagePage | undefined> {
    const { database } = this.#options
    if (limit > sharedPageLimits.messagesMax)
      return readMessagePage(database, user, conversation, { kind: 'newest' }, limit)
    const answer = await this.#reads.ask({ user, conversation, accepted: undefined })
    if (answer.kind === 'stranger') return undefined
    const { page } = answer.kept
    return page === undefined
      ? readMessagePage(database, user, conversation, { kind: 'newest' }, limit)
      : showPage(page, user, limit)
  }

  async #read(ask: Ask): Promise<MessagePage | undefined> {
    const answer = await this.#reads.ask(ask)
    return answer.kind === 'stranger' ? undefined : this.#show(answer.kept, ask.user, ask.conversation)
  }

  async #show({ page }: Kept, user: Id, conversation: Id): Promise<MessagePage | undefined> {
    return page === undefined
      ? readNewestPage(this.#options.database, user, conversation)
      : trimNewestPage(showPage(page, user))
  }

  /**
   * Returns the cached page of a conversation. Empties the cache first when the database epoch has
   * changed.
   */
  #known(conversation: Id): Kept | undefined {
    const epoch = this.#options.epoch()
    if (epoch !== this.#epoch) {
      this.#epoch = epoch
      this.#pages.clear()
    }
    return this.#pages.get(conversation)
  }

  #keep(conversation: Id, kept: Kept, epoch: string): Kept {
    const known = this.#known(conversation)
    if (epoch !== this.#epoch || (known !== undefined && known.seq >= kept.seq)) return kept
    // Estimated memory: the length of the JSON plus an overhead for the entry.
    this.#pages.set(conversation, kept, kept.page === undefined ? 200 : JSON.stringify(kept.page).length + 500)
    return kept
  }

  async #run(asks: readonly Ask[]): Promise<Answer[]> {
    const { database, onRead } = this.#options
    const epoch = this.#options.epoch()
    const answers = asks.map(({ conversation, accepted }): Answer | undefined => {
      const kept = this.#known(conversation)
      return kept !== undefined && accepted !== undefined && isAccepted(kept, accepted)
        ? { kind: 'kept', kept }
        : undefined
    })
    const open = asks.flatMap((ask, index) => (answers[index] === undefined ? [{ ask, index }] : []))
    if (open.length > 0) {
      const known = new Map<Id, Kept>()
      for (const { ask } of open) {
        const kept = this.#known(ask.conversation)
        if (kept !== undefined) known.set(ask.conversation, kept)
      }
      const { seqs, pages } = await readNewestPages(
        database,
        open.map(({ ask }) => ask),
        new Map([...known].map(([conversation, { seq }]) => [conversation, seq])),
      )
      const read = new Map<Id, Kept>()
      for (const [position, { ask, index }] of open.entries()) {
        const seq = seqs[position]
        if (seq === null || seq === undefined) {
          answers[index] = { kind: 'stranger' }
          continue
        }
        const { conversation } = ask
        let kept = pages.has(conversation) ? read.get(conversation) : known.get(conversation)
        if (kept === undefined) {
          kept = this.#keep(conversation, { seq, page: pages.get(conversation), isWritten: false }, epoch)
          read.set(conversation, kept)
          this.#countRead(conversation)
          onRead?.('read')
        } else {
          onRead?.('local')
          this.#share(conversation, kept)
        }
        answers[index] = { kind: 'kept', kept }
      }
    }
    return answers.map((answer) => answer ?? { kind: 'stranger' })
  }

  /** Writes a page to Redis when it is requested again, because other servers may need it, too. */
  #share(conversation: Id, kept: Kept): void {
    const { cache } = this.#options
    if (cache === undefined || kept.isWritten || kept.page === undefined) return
    kept.isWritten = true
    const entry: Entry = [this.#epoch, kept.page]
    cache.write(keyOf(conversation, kept.seq), JSON.stringify(entry), latestPageLimits.lifeMs)
  }

  #fetch(conversation: Id, seq: number): Promise<Kept | undefined> {
    const { cache } = this.#options
    if (cache === undefined) return Promise.resolve(undefined)
    const key = keyOf(conversation, seq)
    const fetching = this.#fetching.get(key) ?? this.#fetchOnce(cache, key, conversation, seq)
    this.#fetching.set(key, fetching)
    return fetching.finally(() => this.#fetching.delete(key))
  }

  async #fetchOnce(
    cache: Pick<SharedCache, 'read'>,
    key: string,
    conversation: Id,
    seq: number,
  ): Promise<Kept | undefined> {
    const { outcome, value } = await cache.read(key)
    this.#options.onRead?.(outcome)
    if (value === undefined) return undefined
    const [epoch, page] = JSON.parse(value) as Entry
    if (epoch !== this.#options.epoch() || page.seq !== seq) return undefined
    return this.#keep(conversation, { seq, page, isWritten: true }, epoch)
  }

  #countRead(conversation: Id): void {
    this.#recentReads.set(conversation, (this.#recentReads.get(conversation) ?? 0) + 1)
    this.#window ??= new Promise((resolve) => {
      this.#options.clock.setTimer(() => {
        this.#window = undefined
        this.#recentReads.clear()
        resolve()
      }, latestPageLimits.windowMs)
    })
  }
}

function isAccepted({ seq }: Kept, { proof, oldestSeq }: Accepted): boolean {
  return seq === proof.seq || (proof.covers(seq) && seq >= (oldestSeq?.() ?? proof.seq))
}

/** Value stored in Redis. The shared cache encrypts it. */
type Entry = readonly [epoch: string, page: SharedPage]

/**
 * Key in Redis. During a rolling restart, servers of another version share this Redis. Their pages
 * may lack fields of messages, so they have other keys.
 */
function keyOf(conversation: Id, seq: number): string {
  return `page:${PROTOCOL_VERSION}:${conversation}:${seq}`
}
