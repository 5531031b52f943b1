/**
 * Public object of one conversation, built from the local copy. It stores no data of its own,
 * except the read marker that is being sent.
 */
import type { Change, LiveValue, Presence } from '@chorus/protocol'
import type { ChatConversation, ConversationSummary, LiveValues, Typing } from '../model/api-conversation.ts'
import type { PresenceWatch } from '../model/api-users.ts'
import type { LazyCards } from '../cards/lazy-cards.ts'
import type { SendRequest } from '../wire/send-request.ts'
import type { Clock } from '../support/clock.ts'
import type { HttpApi } from '../wire/http-api.ts'
import type { LiveValuesClient } from './live-values.ts'
import { MemberList } from './members.ts'
import { MessageList } from './messages.ts'
import { createComputedCell, derive, type Observable } from '../support/observable.ts'
import type { Outbox } from './outbox.ts'
import type { PresenceSubscriptions } from '../users/presence.ts'
import type { ConversationReplica } from '../replica/conversation-replica.ts'
import type { Replica } from '../replica/replica.ts'
import { createTyping } from './typing.ts'
import type { UserCache } from '../users/users.ts'

/**
 * Maximum number of members for which all read markers are loaded. In larger conversations, a
 * marker is shown only after the member has moved it.
 */
export const readMarkersMembersMax = 100

export interface ConversationParts {
  readonly me: string
  readonly replica: Replica
  readonly outbox: Outbox
  readonly api: HttpApi
  readonly request: SendRequest
  readonly clock: Clock
  readonly cards: LazyCards
  readonly users: UserCache
  readonly live: LiveValuesClient
  readonly presence: PresenceSubscriptions
  readonly isConnected: () => boolean
  readonly onError?: (error: unknown) => void
}

export class OpenConversation implements ChatConversation {
  readonly id: string
  readonly messages: MessageList
  readonly members: MemberList
  readonly typing: Typing
  readonly live: LiveValues
  readonly presence: Observable<ReadonlyMap<string, Presence>>
  readonly unread: Observable<number>
  readonly readMarkers: Observable<ReadonlyMap<string, number>>
  readonly #parts: ConversationParts
  readonly #slot: ConversationReplica
  #readWantedSeq = 0
  #readSaidSeq = 0
  #reading: Promise<void> | undefined

  constructor(id: string, parts: ConversationParts) {
    this.id = id
    this.#parts = parts
    this.#slot = parts.replica.slot(id)
    this.messages = new MessageList({ ...parts, slot: this.#slot })
    this.members = new MemberList({ ...parts, conversation: id })
    this.live = parts.live.of(id)
    this.typing = createTyping(this.live, parts.me, parts.clock, parts.isConnected)
    this.unread = derive(this.#slot.summary, (summary) => summary?.unread ?? 0)
    this.presence = watchMembers(this.#slot.summary, parts)
    this.readMarkers = this.#followMarkers()
  }

  get summary(): Observable<ConversationSummary | undefined> {
    return this.#slot.summary
  }

  async markRead(seq?: number): Promise<void> {
    const summary = this.#slot.summary.get()
    const target = Math.min(seq ?? summary?.lastMessage?.seq ?? 0, summary?.seq ?? Number.POSITIVE_INFINITY)
    const isSaid = this.#readWantedSeq <= this.#readSaidSeq
    if (target <= this.#readSaidSeq || (isSaid && target <= (summary?.readSeq ?? 0))) return
    this.#readWantedSeq = Math.max(this.#readWantedSeq, target)
    const isCounted = this.#parts.replica.markRead(this.#slot, this.#readWantedSeq)
    this.#reading ??= this.#sayRead().finally(() => {
      this.#reading = undefined
    })
    await this.#reading
    if (!isCounted) await this.#parts.replica.refresh(this.#slot)
  }

  /** Applies a new change of the conversation's log. */
  handle(change: Change): void {
    this.members.handle(change)
  }

  /**
   * Reloads the data that was built from changes, after the client did not receive some of them.
   */
  restart(): void {
    this.members.refresh()
    this.messages.ensureLoaded()
  }

  /** Loads missing data and sends the unsent read marker, after a connection was established. */
  resume(): void {
    this.messages.ensureLoaded()
    if (this.#readWantedSeq > this.#readSaidSeq && this.#reading === undefined) {
      this.#reading = this.#sayRead()
        .catch(() => undefined)
        .finally(() => {
          this.#reading = undefined
        })
    }
  }

  /**
   * Sends the read marker, one request at a time. A marker that moves during a request is sent with
   * the next one.
   */
  async #sayRead(): Promise<void> {
    while (this.#readSaidSeq < this.#readWantedSeq) {
      const seq = this.#readWantedSeq
      await this.#parts.request('mark-read', { conversation: this.id, seq })
      this.#readSaidSeq = seq
    }
  }

  #followMarkers(): Observable<ReadonlyMap<string, number>> {
    const moves = this.live.observe('read')
    const undo: (() => void)[] = []
    /**
     * Read markers received as live values. They are kept here, because live values expire but read
     * markers do not.
     */
    const seen = new Map<string, number>()
    const markers = createComputedCell<ReadonlyMap<string, number>>(
      () => {
        const result = new Map<string, number>(seen)
        const members = this.members.list.get() ?? this.#slot.summary.get()?.members ?? []
        for (const { user, readSeq } of members) {
          result.set(user.id, Math.max(result.get(user.id) ?? 0, readSeq))
        }
        return result
      },
      {
        onWatched: () => {
          const apply = (values: ReadonlyMap<string, LiveValue>): void => {
            for (const [user, { value }] of values) seen.set(user, Math.max(seen.get(user) ?? 0, toReadSeq(value)))
          }
          undo.push(
            moves.subscribe(() => {
              apply(moves.get())
              markers.invalidate()
            }),
            this.#slot.summary.subscribe(markers.invalidate),
          )
          const memberCount = this.#slot.summary.get()?.memberCount ?? Number.POSITIVE_INFINITY
          if (memberCount <= readMarkersMembersMax) undo.push(this.members.list.subscribe(markers.invalidate))
        },
        onUnwatched: () => {
          for (const one of undo.splice(0)) one()
        },
        onError: this.#parts.onError,
      },
    )
    return markers
  }
}

function toReadSeq(value: unknown): number {
  if (typeof value === 'number') return value
  return typeof value === 'object' && value !== null && 'seq' in value && typeof value.seq === 'number' ? value.seq : 0
}

const nobody: ReadonlyMap<string, Presence> = new Map()

/**
 * Returns the presence of the members that the conversation summary names. Follows changes of that
 * member list.
 */
function watchMembers(
  summary: Observable<ConversationSummary | undefined>,
  { presence: board, me, onError }: ConversationParts,
): Observable<ReadonlyMap<string, Presence>> {
  let watched: { readonly ids: string; readonly watch: PresenceWatch; readonly unsubscribe: () => void } | undefined
  let unfollow: () => void = () => undefined
  const follow = (): void => {
    const users = (summary.get()?.members ?? []).map(({ user }) => user.id).filter((id) => id !== me)
    const ids = users.join()
    if (watched?.ids === ids) return
    drop()
    const watch = board.watch(users)
    watched = { ids, watch, unsubscribe: watch.presence.subscribe(() => cell.invalidate()) }
    cell.invalidate()
  }
  const drop = (): void => {
    watched?.unsubscribe()
    watched?.watch.close()
    watched = undefined
  }
  const cell = createComputedCell<ReadonlyMap<string, Presence>>(() => watched?.watch.presence.get() ?? nobody, {
    onWatched: () => {
      unfollow = summary.subscribe(follow)
      follow()
    },
    onUnwatched: () => {
      unfollow()
      drop()
      cell.invalidate()
    },
    onError,
  })
  return cell
}
