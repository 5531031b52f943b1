/**
 * Messages of one conversation as an application shows them: the timeline plus the user's own
 * pending actions. Edits, deletions and reactions are shown at once and reverted when the server
 * refuses them.
 */
import { ChorusError, limits, type Message, type PageMessage } from '@chorus/protocol'
import type { LazyCards } from '../cards/lazy-cards.ts'
import type { ActOutcome, CardAct, CardState } from '../model/api-cards.ts'
import type {
  MessageDraft,
  Messages,
  OutboxItem,
  SentMessage,
  TimelineItem,
  TimelineView,
} from '../model/api-messages.ts'
import type { SendRequest } from '../wire/send-request.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { type ComputedCell, createComputedCell, type Observable } from '../support/observable.ts'
import type { Outbox } from './outbox.ts'
import type { ConversationReplica } from '../replica/conversation-replica.ts'
import type { Replica } from '../replica/replica.ts'
import { countReaction, type WindowEntry } from '../model/timeline.ts'

/** A pending edit, deletion, reaction or act that is shown before the log contains it. */
interface Overlay {
  readonly seq: number
  readonly apply: (message: PageMessage) => PageMessage
  /**
   * Seq of the change that confirms the action. Infinity until the server has acknowledged it. NaN
   * if it is unknown: the log contains the change when `apply` returns the message itself.
   */
  settledBySeq: number
}

/** Maximum number of pending edits, deletions and reactions in one conversation. */
const overlaysMax = 100

const noCard: Observable<undefined> = { get: () => undefined, subscribe: () => () => undefined }

export interface MessageListOptions {
  readonly me: string
  readonly slot: ConversationReplica
  readonly replica: Replica
  readonly outbox: Outbox
  readonly api: HttpApi
  readonly request: SendRequest
  readonly cards: LazyCards
  readonly onError?: (error: unknown) => void
}

export class MessageList implements Messages {
  readonly #options: MessageListOptions
  readonly #view: ComputedCell<TimelineView>
  #overlays: Overlay[] = []
  #hasWindow = false
  /** Cached timeline item of each message, so that a list renders only changed items. */
  #items = new WeakMap<WindowEntry, TimelineItem>()
  readonly #pendingItems = new WeakMap<OutboxItem, TimelineItem>()

  constructor(options: MessageListOptions) {
    this.#options = options
    this.#view = createComputedCell<TimelineView>(() => this.#compute(), {
      onWatched: () => {
        options.slot.isShown = true
        this.ensureLoaded()
      },
      onUnwatched: () => {
        options.slot.isShown = false
      },
      onError: options.onError,
    })
    options.slot.changed.add(() => {
      this.#dropSettled()
      this.#view.invalidate()
      // Load the newest page again only when loaded messages were dropped because a resume skipped
      // changes (`limited`). Do not retry a failed load here.
      const hadWindow = this.#hasWindow
      this.#hasWindow = options.slot.timeline.window !== undefined
      if (hadWindow && !this.#hasWindow) this.ensureLoaded()
    })
    options.outbox.items.subscribe(this.#view.invalidate)
  }

  get view(): Observable<TimelineView> {
    return this.#view
  }

  /** Loads the newest page if the view has a listener and no page is loaded. */
  ensureLoaded(): void {
    const { slot } = this.#options
    this.#hasWindow = slot.timeline.window !== undefined
    if (this.#view.watchers() === 0 || slot.timeline.window !== undefined || slot.loading !== 'nothing' || slot.isLeft)
      return
    // An error is ignored: the client is usually offline, and loads the page after the next
    // reconnect.
    this.loadNewest().catch(() => undefined)
  }

  async send(draft: MessageDraft): Promise<SentMessage> {
    const sending = this.#options.outbox.add(this.#options.slot.id, draft)
    this.#view.invalidate()
    return sending
  }

  retry(clientId: string): Promise<void> {
    return this.#options.outbox.retry(clientId)
  }

  discard(clientId: string): Promise<void> {
    return this.#options.outbox.discard(clientId)
  }

  async edit(seq: number, text: string): Promise<void> {
    if (text.length === 0 || text.length > limits.textMaxChars) {
      throw new ChorusError(
        'invalid',
        `unable to edit message; its text must have 1 to ${limits.textMaxChars} characters`,
      )
    }
    const show = (message: PageMessage): PageMessage => ({
      ...message,
      text,
      editedAt: message.editedAt ?? message.createdAt,
    })
    await this.#over(seq, show, () => this.#options.request('edit-message', { ...this.#target(seq), text }))
  }

  async delete(seq: number): Promise<void> {
    const show = (message: PageMessage): PageMessage => ({
      ...message,
      text: '',
      data: null,
      attachments: [],
      reactions: [],
      deletedAt: message.deletedAt ?? message.createdAt,
    })
    await this.#over(seq, show, () => this.#options.request('delete-message', this.#target(seq)))
  }

  async react(seq: number, emoji: string): Promise<void> {
    await this.#over(
      seq,
      (message) => (isMine(message, emoji) ? message : withReaction(message, emoji, 1)),
      () => this.#options.request('add-reaction', { ...this.#target(seq), emoji }),
    )
  }

  async unreact(seq: number, emoji: string): Promise<void> {
    await this.#over(
      seq,
      (message) => (isMine(message, emoji) ? withReaction(message, emoji, -1) : message),
      () => this.#options.request('remove-reaction', { ...this.#target(seq), emoji }),
    )
  }

  card(message: Message): Observable<CardState | undefined> {
    return message.card === undefined ? noCard : this.#options.cards.observe(message)
  }

  async act(act: CardAct): Promise<ActOutcome> {
    const { slot, cards } = this.#options
    return (await cards.load()).act(slot.id, act, {
      get: () => slot.timeline.find(act.seq)?.message.card,
      show: (apply) => {
        // Beyond the limit, the new state is shown when its change arrives.
        if (this.#overlays.length < overlaysMax) {
          this.#setOverlays([...this.#overlays, { seq: act.seq, apply, settledBySeq: Number.NaN }])
        }
        this.#dropSettled()
      },
    })
  }

  loadOlder(): Promise<void> {
    return this.#options.replica.loadPage(this.#options.slot, 'older')
  }

  loadNewer(): Promise<void> {
    return this.#options.replica.loadPage(this.#options.slot, 'newer')
  }

  loadAround(seq: number): Promise<void> {
    return this.#options.replica.loadPage(this.#options.slot, 'around', seq)
  }

  loadNewest(): Promise<void> {
    return this.#options.replica.loadPage(this.#options.slot, 'newest')
  }

  async get(seq: number): Promise<PageMessage> {
    const known = this.#options.slot.timeline.find(seq)
    if (known !== undefined) return known.message
    return (await this.#options.api.call('get-message', this.#target(seq))).message
  }

  #target(seq: number): { readonly conversation: string; readonly seq: number } {
    return { conversation: this.#options.slot.id, seq }
  }

  async #over(
    seq: number,
    apply: (message: PageMessage) => PageMessage,
    send: () => Promise<{ readonly seq: number }>,
  ): Promise<void> {
    if (this.#overlays.length >= overlaysMax) {
      throw new ChorusError('rate-limited', `unable to change message; ${overlaysMax} changes are already in progress`)
    }
    const overlay: Overlay = { seq, apply, settledBySeq: Number.POSITIVE_INFINITY }
    this.#setOverlays([...this.#overlays, overlay])
    try {
      overlay.settledBySeq = (await send()).seq
      this.#dropSettled()
    } catch (error) {
      this.#setOverlays(this.#overlays.filter((one) => one !== overlay))
      throw error
    }
  }

  #dropSettled(): void {
    const { timeline } = this.#options.slot
    const kept = this.#overlays.filter(({ seq, apply, settledBySeq }) => {
      if (settledBySeq >= 0) return settledBySeq > timeline.appliedSeq
      const message = timeline.find(seq)?.message
      return message !== undefined && apply(message) !== message
    })
    if (kept.length < this.#overlays.length) this.#setOverlays(kept)
  }

  #setOverlays(overlays: Overlay[]): void {
    this.#overlays = overlays
    this.#items = new WeakMap()
    this.#view.invalidate()
  }

  #compute(): TimelineView {
    const { slot } = this.#options
    const { window } = slot.timeline
    const items: TimelineItem[] = (window?.entries ?? []).map((entry) => this.#toItem(entry))
    // Pending messages follow the newest message, so a view of older messages does not show them.
    if (window?.hasAfter !== true && !slot.isLeft) {
      const waiting = this.#options.outbox.items.get().filter(({ conversation }) => conversation === slot.id)
      if (waiting.length > 0) {
        const here = new Set(items.map(({ key }) => key))
        for (const item of waiting) if (!here.has(item.clientId)) items.push(this.#toPending(item))
      }
    }
    return {
      items,
      isLoaded: window !== undefined,
      hasOlder: window?.hasBefore ?? false,
      hasNewer: window?.hasAfter ?? false,
      loading: slot.loading,
    }
  }

  #toItem(entry: WindowEntry): TimelineItem {
    const known = this.#items.get(entry)
    if (known !== undefined) return known
    let { message } = entry
    for (const { seq, apply } of this.#overlays) if (seq === message.seq) message = apply(message)
    const isMyOwn = message.sender === this.#options.me
    // Messages of other members have their seq as key, because two users may choose the same
    // clientId, and each key must be unique in the list.
    const key = isMyOwn ? message.clientId : `${message.seq}`
    const item: TimelineItem = { kind: 'message', key, message, isMine: isMyOwn }
    this.#items.set(entry, item)
    return item
  }

  #toPending(item: OutboxItem): TimelineItem {
    const known = this.#pendingItems.get(item)
    if (known !== undefined) return known
    const pending: TimelineItem = { kind: 'pending', key: item.clientId, item }
    this.#pendingItems.set(item, pending)
    return pending
  }
}

function isMine(message: PageMessage, emoji: string): boolean {
  return message.reactions.some((reaction) => reaction.emoji === emoji && reaction.mine)
}

function withReaction(message: PageMessage, emoji: string, step: 1 | -1): PageMessage {
  if (message.deletedAt !== null) return message
  return { ...message, reactions: countReaction(message.reactions, emoji, step, true) }
}
