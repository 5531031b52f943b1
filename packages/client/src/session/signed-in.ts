/**
 * Everything that belongs to one signed-in user: the local copy, the outbox, live values and open
 * conversations. It is created at sign-in and ended as a whole at sign-out.
 *
 * Guarantee: after `end`, no request is sent, no change is reported and no timer runs for this
 * sign-in.
 */
import type { ServerEvent, User } from '@chorus/protocol'
import { LazyCards } from '../cards/lazy-cards.ts'
import type { Connection } from '../connection/connection.ts'
import type { Requests } from '../connection/requests.ts'
import { type ConversationParts, OpenConversation } from '../conversation/conversation.ts'
import { LiveValuesClient } from '../conversation/live-values.ts'
import { Outbox } from '../conversation/outbox.ts'
import type { ChangeNotice } from '../model/api.ts'
import type { ChatStore } from '../model/store.ts'
import { Replica, type ReplicaEvent } from '../replica/replica.ts'
import type { Lifetime } from '../support/lifetime.ts'
import type { PresenceSubscriptions } from '../users/presence.ts'
import type { UserCache } from '../users/users.ts'
import type { HttpApi } from '../wire/http-api.ts'

export interface SignedInOptions {
  readonly user: User
  /** Lifetime of this sign-in. When it ends, all work for this user stops. */
  readonly life: Lifetime
  readonly store: ChatStore
  readonly requests: Requests
  readonly connection: Connection
  readonly users: UserCache
  readonly presence: PresenceSubscriptions
  readonly onChange: (notice: ChangeNotice) => void
  readonly onLimited: (notice: { readonly conversation: string; readonly seq: number }) => void
  readonly onError: (error: unknown) => void
}

export class SignedIn {
  readonly user: User
  readonly life: Lifetime
  readonly api: HttpApi
  readonly replica: Replica
  readonly outbox: Outbox
  readonly #options: SignedInOptions
  readonly #live: LiveValuesClient
  readonly #cards: LazyCards
  readonly #parts: ConversationParts
  readonly #conversations = new Map<string, OpenConversation>()

  constructor(options: SignedInOptions) {
    const { user, life, requests, connection } = options
    this.#options = options
    this.user = user
    this.life = life
    this.api = requests.api(life)
    const parts = {
      ...options,
      me: user.id,
      api: this.api,
      clock: life.clock,
      waits: life.waits,
      request: requests.sender(life),
      isConnected: () => !life.isOver && connection.isUsable,
    }
    this.replica = new Replica({
      ...parts,
      onChange: (notice) => this.#onChange(notice),
      onLimited: (notice) => this.#onLimited(notice),
      onMoved: (conversation, seq) => this.outbox.settleUpTo(conversation, seq),
      onReset: () => connection.reconnect(),
    })
    this.outbox = new Outbox({
      ...parts,
      send: ({ conversation, clientId, draft }) => {
        const { attachments, ...rest } = draft
        return connection.request('send-message', {
          conversation,
          clientId,
          ...rest,
          ...(attachments !== undefined && { attachments: [...attachments] }),
        })
      },
      appliedSeqOf: (conversation) => this.replica.appliedSeqOf(conversation),
    })
    this.#live = new LiveValuesClient(parts)
    this.#cards = new LazyCards(parts)
    this.#parts = { ...parts, replica: this.replica, outbox: this.outbox, live: this.#live, cards: this.#cards }
  }

  /** Loads the stored data. */
  async load(): Promise<void> {
    // Ignore a store that cannot be read (full, private window, damaged): the user can still chat.
    await this.replica.loadCached().catch(this.#options.onError)
    await this.outbox.load().catch(this.#options.onError)
  }

  /** Returns the object of a conversation, always the same one for an id. */
  conversation(id: string): OpenConversation {
    const known = this.#conversations.get(id)
    if (known !== undefined) return known
    const opened = new OpenConversation(id, this.#parts)
    this.#conversations.set(id, opened)
    return opened
  }

  /** Applies an event of the current connection. */
  handle(event: ReplicaEvent | Extract<ServerEvent, { name: 'live' }>): void {
    if (event.name === 'live') this.#live.handle(event.payload)
    else this.replica.handle(event)
  }

  /** Loads missing data and sends pending messages, after a connection was established. */
  resume(): void {
    this.outbox.resume()
    this.#live.resume()
    this.#cards.loaded?.resume()
    for (const conversation of this.#conversations.values()) conversation.resume()
  }

  end(): void {
    this.replica.stop()
    this.outbox.stop()
    this.#live.stop()
    this.life.end()
  }

  #onChange(notice: ChangeNotice): void {
    if (this.life.isOver) return
    const { conversation, change } = notice
    if (change.type === 'message.created' && change.message.sender === this.user.id)
      this.outbox.settle(change.message.clientId, change.message)
    this.#conversations.get(conversation)?.handle(change)
    this.#options.onChange(notice)
  }

  #onLimited(notice: { readonly conversation: string; readonly seq: number }): void {
    this.#conversations.get(notice.conversation)?.restart()
    this.#options.onLimited(notice)
  }
}
