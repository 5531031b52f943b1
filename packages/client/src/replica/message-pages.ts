/**
 * Loads pages of messages into the windows of the local copy.
 *
 * Guarantee: one page of a conversation loads at a time. A page that no longer joins the loaded
 * messages, because they changed during the request, is requested again. After a failure the next
 * page is smaller, so that a slow line gets further.
 */
import { ChorusError, limits, type MessagePage } from '@chorus/protocol'
import type { PagePlacement } from '../model/timeline.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { type ConversationReplica, type Loading, notifyChanged } from './conversation-replica.ts'
import type { LocalCopy } from './local-copy.ts'
import { pageSizeMin } from './page-limits.ts'
import type { ReplicaSaver } from './saver.ts'

/** Number of attempts to join a page to a window that changes while the page is read. */
const joinsMax = 4

interface PageRequest {
  readonly query: { readonly before?: number; readonly after?: number; readonly around?: number }
  readonly placement: PagePlacement
}

export interface MessagePagesOptions {
  readonly api: HttpApi
  readonly copy: LocalCopy
  readonly saver: ReplicaSaver
}

export class MessagePages {
  readonly #options: MessagePagesOptions
  /** Number of messages on one page. It shrinks after a failure. */
  #pageSize: number = limits.pageDefault

  constructor(options: MessagePagesOptions) {
    this.#options = options
  }

  /** Loads a page into the window. Does nothing while another page is loading. */
  async load(slot: ConversationReplica, what: Exclude<Loading, 'nothing'>, around?: number): Promise<void> {
    if (slot.loading !== 'nothing') return
    slot.loading = what
    notifyChanged(slot)
    try {
      for (let joins = 0; joins < joinsMax; joins += 1) {
        const request = toPageRequest(slot, what, around)
        if (request === undefined) return
        const page = await this.#read(slot.id, request.query)
        if (slot.timeline.applyPage(page, request.placement) === 'applied') {
          this.#options.copy.useWindow(slot)
          this.#options.copy.change(slot)
          this.#options.saver.saveLater()
          return
        }
      }
      throw new ChorusError('unavailable', 'unable to load messages; the conversation changes too fast')
    } finally {
      slot.loading = 'nothing'
      notifyChanged(slot)
    }
  }

  async #read(conversation: string, query: PageRequest['query']): Promise<MessagePage> {
    const limit = this.#pageSize
    try {
      const page = await this.#options.api.call('list-messages', {
        conversation,
        ...query,
        ...(limit < limits.pageDefault && { limit }),
      })
      this.#pageSize = Math.min(limits.pageDefault, limit * 2)
      return page
    } catch (error) {
      if (error instanceof ChorusError && error.code === 'unavailable') {
        this.#pageSize = Math.max(pageSizeMin, limit >>> 1)
      }
      throw error
    }
  }
}

/**
 * Returns the request for a page, or undefined when there are no more messages in that direction.
 */
function toPageRequest(
  slot: ConversationReplica,
  what: Exclude<Loading, 'nothing'>,
  around: number | undefined,
): PageRequest | undefined {
  const { window } = slot.timeline
  switch (what) {
    case 'newest':
      return { query: {}, placement: { at: 'whole' } }
    case 'around':
      return { query: around === undefined ? {} : { around }, placement: { at: 'whole' } }
    case 'older': {
      const before = window?.entries[0]?.message.seq
      if (window === undefined || before === undefined) return { query: {}, placement: { at: 'whole' } }
      return window.hasBefore ? { query: { before }, placement: { at: 'older', before } } : undefined
    }
    case 'newer': {
      const after = window?.entries.at(-1)?.message.seq
      if (window === undefined || after === undefined) return { query: {}, placement: { at: 'whole' } }
      return window.hasAfter ? { query: { after }, placement: { at: 'newer', after } } : undefined
    }
  }
}
