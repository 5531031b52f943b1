/**
 * The newest page of busy conversations, read once for all who ask. Kept under (conversation, seq): every change raises seq,
 * so nothing is ever invalidated, and nothing old is shown but to those who are sent what came since. In this process, the
 * most recently used within a budget of bytes; behind that in Redis, sealed, what has proved to be asked for more than once.
 *
 * Membership never comes from here (rule ACL1): a page is shown to somebody who was seen to be a member when the log stood
 * at its seq or beyond, or it comes from the statement that tests them. However many ask, pages of a conversation are read
 * `readsPerWindow` times in `windowMs` at most for those who resume (rule LIM2).
 */
import { ChorusError, type Id, type MessagePage } from '@chorus/protocol'
import { Batcher } from '../support/batcher.ts'
import { ByteLru } from '../support/byte-lru.ts'
import type { Clock } from '../support/clock.ts'
import type { CacheOutcome, SharedCache } from '../support/shared-cache.ts'
import type { Database } from './database.ts'
import { readMessagePage, readNewestPage, trimNewestPage } from './read-messages.ts'
import { type MemberPair, readNewestPages, type SharedPage, sharedPageBounds, showPage } from './read-newest-pages.ts'

export const newestPagesBounds = {
  /** Of what is kept in this process, as JSON. */
  bytesMax: 16_000_000,
  /** How long a page stays in Redis. */
  lifeMs: 30_000,
  readsPerWindow: 4,
  windowMs: 200,
  batchMax: 200,
  waitingMax: 20_000,
} as const

export interface NewestPagesOptions {
  readonly database: Database
  /** Where there are several servers. */
  readonly cache?: Pick<SharedCache, 'read' | 'write'> | undefined
  readonly clock: Clock
  readonly epoch: () => string
  /** Told of each page that was wanted: `local`, what Redis said, or `read`. */
  readonly onRead?: (outcome: CacheOutcome | 'local' | 'read') => void
}

/** What is known of a conversation's newest page. */
interface Kept {
  readonly seq: number
  /** Undefined: too large to be shared. */
  readonly page: SharedPage | undefined
  isWritten: boolean
}

interface Ask extends MemberPair {
  /** Membership was seen when the log stood there; undefined: it is yet to be tested. */
  readonly seen: PageSeen | undefined
}

/** Which pages do without a test of membership. */
interface PageSeen {
  /** The asker was a member when the log stood there. */
  readonly seq: number
  /** The asker has what came since a page of this seq or a later one; asked only when there is an older one. */
  readonly oldestSeq: (() => number | undefined) | undefined
}

type Answer = { readonly kind: 'stranger' } | { readonly kind: 'kept'; readonly kept: Kept }

export class NewestPages {
  readonly #options: NewestPagesOptions
  #epoch: string
  readonly #pages = new ByteLru<Kept>(newestPagesBounds.bytesMax)
  readonly #reads: Batcher<Ask, Answer>
  /** Pages that are being fetched from Redis, by key. */
  readonly #fetching = new Map<string, Promise<Kept | undefined>>()
  /** Reads of the current window, by conversation. */
  readonly #recentReads = new Map<Id, number>()
  #window: Promise<void> | undefined

  constructor(options: NewestPagesOptions) {
    this.#options = options
    this.#epoch = options.epoch()
    this.#reads = new Batcher({
      run: (asks: readonly Ask[]) => this.#run(asks),
      batchMax: newestPagesBounds.batchMax,
      waitingMax: newestPagesBounds.waitingMax,
      refusal: () =>
        new ChorusError('unavailable', 'unable to show the newest messages; too many wait for them', {
          retryAfterMs: 1_000,
        }),
    })
  }

  /**
   * The newest page, of at most 256 kB, for a `conversation` event or an entry of a sync: for somebody who was a member
   * when the log stood at `seq`. Undefined when they are none by now and it had to be read.
   *
   * @param oldestSeq - whoever has the changes since then takes a page from a moment ago and adds them; while people write,
   *   the page would otherwise be read anew for nearly everybody who comes (rule LIM2)
   */
  async at(
    user: Id,
    conversation: Id,
    seq: number,
    oldestSeq?: PageSeen['oldestSeq'],
  ): Promise<MessagePage | undefined> {
    const seen = { seq, oldestSeq }
    const kept = this.#known(conversation)
    if (kept !== undefined && isShown(kept, seen)) {
      this.#options.onRead?.('local')
      this.#share(conversation, kept)
      return this.#show(kept, user, conversation)
    }
    const fetched = await this.#fetch(conversation, seq)
    if (fetched !== undefined) return this.#show(fetched, user, conversation)
    while ((this.#recentReads.get(conversation) ?? 0) >= newestPagesBounds.readsPerWindow) await this.#window
    return this.#read({ user, conversation, seen })
  }

  /** The newest page, of at most 256 kB; undefined when the user is no member. */
  newest(user: Id, conversation: Id): Promise<MessagePage | undefined> {
    return this.#read({ user, conversation, seen: undefined })
  }

  /** The newest `limit` messages, as `readMessagePage` gives them; undefined when the user is no member. */
  async newestOf(user: Id, conversation: Id, limit: number): Promise<MessagePage | undefined> {
    const { database } = this.#options
    if (limit > sharedPageBounds.messagesMax)
      return readMessagePage(database, user, conversation, { kind: 'newest' }, limit)
    const answer = await this.#reads.ask({ user, conversation, seen: undefined })
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

  /** Kept pages are of one history. */
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
    // Reactions count apart: ids are longer here than in JSON they stand for.
    this.#pages.set(conversation, kept, kept.page === undefined ? 200 : JSON.stringify(kept.page).length + 500)
    return kept
  }

  async #run(asks: readonly Ask[]): Promise<Answer[]> {
    const { database, onRead } = this.#options
    const epoch = this.#options.epoch()
    const answers = asks.map(({ conversation, seen }): Answer | undefined => {
      const kept = this.#known(conversation)
      return kept !== undefined && seen !== undefined && isShown(kept, seen) ? { kind: 'kept', kept } : undefined
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

  /** Asked for more than once: other servers may want it, too. */
  #share(conversation: Id, kept: Kept): void {
    const { cache } = this.#options
    if (cache === undefined || kept.isWritten || kept.page === undefined) return
    kept.isWritten = true
    const entry: Entry = [this.#epoch, kept.page]
    cache.write(keyOf(conversation, kept.seq), JSON.stringify(entry), newestPagesBounds.lifeMs)
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
      }, newestPagesBounds.windowMs)
    })
  }
}

function isShown({ seq }: Kept, seen: PageSeen): boolean {
  return seq === seen.seq || (seq < seen.seq && seq >= (seen.oldestSeq?.() ?? seen.seq))
}

/** As it stands in Redis, behind its seal. */
type Entry = readonly [epoch: string, page: SharedPage]

function keyOf(conversation: Id, seq: number): string {
  return `page:${conversation}:${seq}`
}
