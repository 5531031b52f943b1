/**
 * Full member list of one conversation. It is loaded when the first listener subscribes and then
 * updated from the log.
 */
import { type Change, limits, type Member, type Role } from '@chorus/protocol'
import type { Members } from '../model/api-conversation.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'
import type { UserCache } from '../users/users.ts'

/**
 * Maximum number of loaded members. Of a larger conversation, only the first 1000 members are
 * loaded.
 */
export const membersMax = 1_000

/**
 * Maximum number of repeated loads. If members change during a load, the list is loaded again. The
 * result of the last load is used in any case.
 */
const loadsMax = 3

export interface MemberListOptions {
  readonly conversation: string
  readonly api: HttpApi
  readonly users: UserCache
  readonly onError?: (error: unknown) => void
}

export class MemberList implements Members {
  readonly #options: MemberListOptions
  readonly #cell: Cell<readonly Member[] | undefined>
  #loading: Promise<readonly Member[]> | undefined
  /**
   * Number of member changes received. If it differs after a load, the response may miss a change,
   * and the list is loaded again.
   */
  #changes = 0
  readonly #leftAtSeq = new Map<string, number>()

  constructor(options: MemberListOptions) {
    this.#options = options
    this.#cell = createCell<readonly Member[] | undefined>(undefined, {
      onWatched: () => {
        this.load().catch(() => undefined)
      },
      onError: options.onError,
    })
  }

  get list(): Observable<readonly Member[] | undefined> {
    return this.#cell
  }

  get isWatched(): boolean {
    return this.#cell.watchers() > 0
  }

  load(): Promise<readonly Member[]> {
    this.#loading ??= this.#loadNow().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async add(user: string, role?: Role): Promise<Member> {
    const { member } = await this.#options.api.call('put-member', {
      conversation: this.#options.conversation,
      user,
      ...(role !== undefined && { role }),
    })
    this.#put(member)
    return member
  }

  async remove(user: string): Promise<void> {
    await this.#options.api.call('remove-member', { conversation: this.#options.conversation, user })
    this.#drop(user)
  }

  setRole(user: string, role: Role): Promise<Member> {
    return this.add(user, role)
  }

  /** Applies a new change of the conversation's log to the member list. */
  handle(change: Change): void {
    const known = this.#cell.get()
    if (change.type.startsWith('member.')) this.#changes += 1
    if (change.type === 'member.left') this.#noteLeft(change.user, change.seq)
    if (known === undefined) return
    switch (change.type) {
      case 'member.left':
        this.#drop(change.user)
        return
      case 'member.updated':
        this.#cell.set(known.map((one) => (one.user.id === change.user ? { ...one, role: change.role } : one)))
        return
      case 'member.joined':
        if (known.some(({ user }) => user.id === change.user)) return
        this.#options.users.get(change.user).then(
          (user) => {
            // The new member may have left while the profile was loading.
            const isGone = (this.#leftAtSeq.get(user.id) ?? 0) > change.seq
            if (!isGone) this.#put({ user, role: change.role, joinedSeq: change.seq, readSeq: 0 })
          },
          () => undefined,
        )
        return
      default:
        return
    }
  }

  /**
   * Reloads the member list. After a resume that skipped changes (`limited`), this client has not
   * seen all joins and departures.
   */
  refresh(): void {
    if (this.isWatched) this.load().catch(() => undefined)
    else this.#cell.set(undefined)
  }

  async #loadNow(): Promise<readonly Member[]> {
    for (let attempt = 0; ; attempt += 1) {
      const changesBefore = this.#changes
      const members: Member[] = []
      for (let page: string | undefined; members.length < membersMax; ) {
        const answer = await this.#options.api.call('list-members', {
          conversation: this.#options.conversation,
          limit: limits.pageMax,
          ...(page !== undefined && { page }),
        })
        members.push(...answer.members)
        page = answer.next
        if (page === undefined || answer.members.length === 0) break
      }
      if (this.#changes !== changesBefore && attempt < loadsMax) continue
      this.#options.users.put(members.map(({ user }) => user))
      this.#cell.set(members)
      return members
    }
  }

  #noteLeft(userId: string, seq: number): void {
    if (this.#leftAtSeq.size > membersMax) this.#leftAtSeq.clear()
    this.#leftAtSeq.set(userId, seq)
  }

  #put(member: Member): void {
    const known = this.#cell.get()
    if (known === undefined) return
    const isThere = known.some(({ user }) => user.id === member.user.id)
    if (isThere) this.#cell.set(known.map((one) => (one.user.id === member.user.id ? member : one)))
    else if (known.length < membersMax) this.#cell.set([...known, member])
  }

  #drop(userId: string): void {
    const known = this.#cell.get()
    if (known !== undefined) this.#cell.set(known.filter(({ user }) => user.id !== userId))
  }
}
