/** Profiles: gathered for a moment and asked for in batches, kept in a bounded cache. */
import { ChorusError, limits, type User } from '@chorus/protocol'
import type { Users } from './api.ts'
import type { Clock } from './clock.ts'
import type { HttpApi } from './http-api.ts'
import { type Cell, createCell, type Observable } from './observable.ts'

/** Profiles kept; the least recently used that nobody watches go first. */
export const usersMax = 2_000
/** How long requests gather into one. */
export const gatherMs = 20
/** How long an id without a profile is not asked for again. */
export const missingForMs = 60_000
/** Attempts for one batch before those who wait are told. */
const attemptsMax = 3

interface Waiter {
  readonly resolve: (user: User) => void
  readonly reject: (error: unknown) => void
}

export interface UserCacheOptions {
  /** Is there a session to ask with? What is only looked at waits for one. */
  readonly isActive?: () => boolean
  readonly onError?: (error: unknown) => void
}

export class UserCache implements Users {
  readonly #api: HttpApi
  readonly #clock: Clock
  readonly #cells = new Map<string, Cell<User | undefined>>()
  readonly #wanted = new Map<string, Waiter[]>()
  /** By id, until when it is not asked for again. */
  readonly #missing = new Map<string, number>()
  readonly #options: UserCacheOptions
  /** A request is waited for, or is under way. */
  #cancel: (() => void) | undefined
  #isAgain = false
  /** Counts what was cleared: an answer that was asked for before belongs to another user. */
  #clears = 0

  constructor(api: HttpApi, clock: Clock, options: UserCacheOptions = {}) {
    this.#api = api
    this.#clock = clock
    this.#options = options
  }

  observe(id: string): Observable<User | undefined> {
    const cell = this.#cell(id)
    this.#wantIfMissing(id, cell)
    return cell
  }

  get(id: string): Promise<User> {
    const known = this.#cell(id).get()
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((resolve, reject) => this.#want(id, { resolve, reject }))
  }

  /** There is a connection: profiles that are looked at and never came are asked for. */
  resume(): void {
    for (const [id, cell] of this.#cells) if (cell.watchers() > 0) this.#wantIfMissing(id, cell)
  }

  #wantIfMissing(id: string, cell: Cell<User | undefined>): void {
    if (this.#options.isActive?.() === false || cell.get() !== undefined) return
    if (!this.#wanted.has(id) && !this.#isMissing(id)) this.#want(id, undefined)
  }

  /** Said lately not to exist: a list that is drawn again and again must not ask again and again. */
  #isMissing(id: string): boolean {
    const untilMs = this.#missing.get(id)
    return untilMs !== undefined && untilMs > this.#clock.now()
  }

  /** Takes profiles that came with something else. */
  put(users: readonly User[]): void {
    for (const user of users) {
      const cell = this.#cell(user.id)
      const known = cell.get()
      const isSame = known?.name === user.name && known.handle === user.handle && known.avatar === user.avatar
      if (!isSame) cell.set(user)
    }
  }

  /** Forgets everything, and asks for nothing more. */
  clear(): void {
    this.#clears += 1
    this.#cancel?.()
    this.#cancel = undefined
    this.#missing.clear()
    const error = new ChorusError('unavailable', 'unable to show user; the client was stopped')
    for (const id of [...this.#wanted.keys()]) for (const waiter of this.#take(id)) waiter.reject(error)
    for (const cell of this.#cells.values()) cell.set(undefined)
  }

  #cell(id: string): Cell<User | undefined> {
    const known = this.#cells.get(id)
    const cell = known ?? createCell<User | undefined>(undefined, { onError: this.#options.onError })
    // Moved to the end: the order of the map is the order of use.
    this.#cells.delete(id)
    this.#cells.set(id, cell)
    if (known === undefined && this.#cells.size > usersMax) this.#evict()
    return cell
  }

  #evict(): void {
    for (const [id, cell] of this.#cells) {
      if (cell.watchers() > 0 || this.#wanted.has(id)) continue
      this.#cells.delete(id)
      return
    }
  }

  #want(id: string, waiter: Waiter | undefined): void {
    const waiters = this.#wanted.get(id) ?? []
    if (waiter !== undefined) waiters.push(waiter)
    this.#wanted.set(id, waiters)
    this.#gather(gatherMs)
  }

  #gather(delayMs: number): void {
    if (this.#cancel !== undefined) return
    this.#after(delayMs, () => this.#ask(0))
  }

  #after(delayMs: number, ask: () => Promise<void>): void {
    const clears = this.#clears
    this.#cancel = this.#clock.after(delayMs, () => {
      void ask().finally(() => {
        if (clears !== this.#clears || this.#isAgain) return
        this.#cancel = undefined
        if (this.#wanted.size > 0) this.#gather(gatherMs)
      })
    })
  }

  async #ask(attempt: number): Promise<void> {
    this.#isAgain = false
    const clears = this.#clears
    const ids = [...this.#wanted.keys()].slice(0, limits.listMaxIds)
    try {
      const { users } = await this.#api.call('find-users', { ids, limit: ids.length })
      if (clears !== this.#clears) return
      this.put(users)
      const found = new Map(users.map((user) => [user.id, user]))
      if (this.#missing.size > usersMax) this.#missing.clear()
      for (const id of ids) {
        const user = found.get(id)
        if (user === undefined) this.#missing.set(id, this.#clock.now() + missingForMs)
        for (const waiter of this.#take(id)) {
          if (user !== undefined) waiter.resolve(user)
          else waiter.reject(new ChorusError('not-found', 'unable to show user; there is no such user'))
        }
      }
    } catch (error) {
      if (clears !== this.#clears) return
      const isFinal = !(error instanceof ChorusError) || error.retry === 'never' || attempt + 1 >= attemptsMax
      if (isFinal) {
        for (const id of ids) for (const waiter of this.#take(id)) waiter.reject(error)
        return
      }
      this.#isAgain = true
      this.#after(1_000 * 2 ** attempt, () => this.#ask(attempt + 1))
    }
  }

  #take(id: string): readonly Waiter[] {
    const waiters = this.#wanted.get(id) ?? []
    this.#wanted.delete(id)
    return waiters
  }
}
