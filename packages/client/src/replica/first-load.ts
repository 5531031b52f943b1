/**
 * Reads all conversations of the user from the server: the messages with `sync` (starting without a
 * cursor) and, in parallel, the conversation list.
 *
 * Guarantee: pages read before a failure are kept and the next ones are smaller, so that each
 * attempt on a slow line gets further. The number of pages is limited, so that a faulty server
 * cannot cause an endless load.
 */
import { ChorusError, type Conversation, limits, type SyncEntry, type SyncPage } from '@chorus/protocol'
import type { ChatStore } from '../model/store.ts'
import type { HttpApi } from '../wire/http-api.ts'
import type { LocalCopy } from './local-copy.ts'
import { pageSizeMin, pagesMax } from './page-limits.ts'

/**
 * Maximum number of consecutive first loads that the server interrupts with `reset`. After them,
 * the client does not load again until the next connection.
 */
export const firstLoadsMax = 3
/** Number of conversations on the first page of the conversation list. */
const firstPageSize = 50

/** Result of a first load. */
export interface FirstLoad {
  /**
   * Generation of the stored data before the load (an id that changes when the data is cleared or
   * replaced).
   */
  readonly base: string | undefined
  readonly epoch: string
  readonly cursor: string | undefined
  readonly entries: ReadonlyMap<string, SyncEntry>
  readonly summaries: ReadonlyMap<string, Conversation>
}

/** Progress of a first load. */
interface Progress extends FirstLoad {
  epoch: string
  cursor: string | undefined
  isSynced: boolean
  readonly entries: Map<string, SyncEntry>
  nextPage: string | undefined
  isListed: boolean
  readonly summaries: Map<string, Conversation>
}

export interface FirstLoadReaderOptions {
  readonly me: string
  readonly store: ChatStore
  readonly api: HttpApi
  readonly copy: LocalCopy
  readonly onError: (error: unknown) => void
  /** Called with each conversation of the conversation list as soon as it is received. */
  readonly onListed: (conversation: Conversation) => void
}

export class FirstLoadReader {
  readonly #options: FirstLoadReaderOptions
  /** Progress of the first load that is running or was interrupted. */
  #progress: Progress | undefined
  /** Number of conversations on one page. It shrinks after a failure. */
  #pageSize: number = limits.pageMax

  constructor(options: FirstLoadReaderOptions) {
    this.#options = options
  }

  /**
   * Reads all conversations, or the remaining ones after a failure. Returns undefined when the
   * client was stopped.
   */
  async read(): Promise<FirstLoad | undefined> {
    this.#progress ??= {
      // Read the generation of the store before the first request, so that the server's response is
      // newer than the stored data.
      base: await this.#options.store
        .readGeneration(this.#options.me)
        .catch((error: unknown) => void this.#options.onError(error)),
      epoch: '',
      cursor: undefined,
      isSynced: false,
      entries: new Map(),
      nextPage: undefined,
      isListed: false,
      summaries: new Map(),
    }
    const progress = this.#progress
    const parts = await Promise.allSettled([this.#readEntries(progress), this.#readSummaries(progress)])
    if (this.#options.copy.isStopped()) return undefined
    for (const part of parts) {
      if (part.status === 'fulfilled') continue
      this.#pageSize = Math.max(pageSizeMin, this.#pageSize >>> 1)
      throw part.reason
    }
    this.#progress = undefined
    this.#pageSize = limits.pageMax
    return progress
  }

  async #readEntries(progress: Progress): Promise<void> {
    for (let loads = 0, pages = 0; !progress.isSynced; pages += 1) {
      const { cursor } = progress
      const limit = this.#pageSize
      const page: SyncPage = await this.#options.api.call('sync', { limit, ...(cursor !== undefined && { cursor }) })
      if (cursor !== undefined && (page.reset === true || page.epoch !== progress.epoch)) {
        loads += 1
        progress.entries.clear()
      }
      if (loads >= firstLoadsMax || pages >= pagesMax) {
        throw new ChorusError('unavailable', 'unable to load conversations; the server restarted the load too often')
      }
      progress.epoch = page.epoch
      progress.cursor = page.cursor
      for (const entry of page.conversations)
        progress.entries.set(entry.conversation, mergeEntry(progress.entries.get(entry.conversation), entry))
      // A page with `reset` restarts the load. It is already the first page of the new load, so it
      // is used.
      progress.isSynced = !page.more
    }
  }

  async #readSummaries(progress: Progress): Promise<void> {
    for (let pages = 0; !progress.isListed && pages < pagesMax; pages += 1) {
      const { nextPage } = progress
      const answer = await this.#options.api.call('list-conversations', {
        // The first page is small, so that the user sees conversations soon.
        limit: nextPage === undefined ? Math.min(firstPageSize, this.#pageSize) : this.#pageSize,
        ...(nextPage !== undefined && { page: nextPage }),
      })
      if (this.#options.copy.isStopped()) return
      for (const conversation of answer.conversations) {
        progress.summaries.set(conversation.id, conversation)
        this.#options.onListed(conversation)
      }
      progress.nextPage = answer.next
      progress.isListed = answer.next === undefined
    }
  }
}

/**
 * Merges two entries of one load for the same conversation. The later entry continues the earlier
 * one.
 */
function mergeEntry(known: SyncEntry | undefined, entry: SyncEntry): SyncEntry {
  if (known === undefined || entry.messages !== undefined || entry.left === true) return entry
  return {
    ...known,
    ...entry,
    changes: [...known.changes, ...entry.changes],
    seq: known.seq,
    ...(known.messages && { messages: known.messages }),
  }
}
