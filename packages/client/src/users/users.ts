/** Cache of user profiles. Loads missing profiles in batches and keeps a bounded number of them. */
import { ChorusError, limits, type User } from '@chorus/protocol'
import type { Users } from '../model/api-users.ts'
import type { Clock } from '../support/clock.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'

/**
 * Maximum number of cached profiles. The least recently used profiles without a listener are
 * evicted first.
 */
export const usersMax = 2_000
/** Time during which profile requests are collected into one batch. */
export const gatherMs = 20
/** If the server has no profile for an id, the id is not requested again during this time. */
export const missingForMs = 60_000
/** Number of attempts to load one batch of profiles before its callers get the error. */
const attemptsMax = 3

interface Waiter {
  readonly resolve: (user: User) => void
  readonly reject: (error: unknown) => void
}

export interface UserCacheOptions {
  /**
   * Returns whether a session exists to send requests with. Without one, `observe` waits for the
   * next connection.
   */
  readonly isActive?: () => boolean
  readonly onError?: (error: unknown) => void
}

export class UserCache implements Users {
  readonly #api: HttpApi
  readonly #clock: Clock
  readonly #cells = new Map<string, Cell<User | undefined>>()
  readonly #wanted = new Map<string, Waiter[]>()
  /**
   * Ids for which the server has no profile, each with the time until which it is not requested
   * again.
   */
  readonly #missing = new Map<string, number>()
  readonly #options: UserCacheOptions
  /** Cancels the timer of the next request. Undefined when no request is planned or running. */
  #cancel: (() => void) | undefined
  #isAgain = false
  /**
   * Number of times the cache was cleared. A response to a request from before the last `clear` is
   * dropped, because another user may be signed in now.
   */
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

  /** Requests all observed profiles that are still missing, after a connection was established. */
  resume(): void {
    for (const [id, cell] of this.#cells) if (cell.watchers() > 0) this.#wantIfMissing(id, cell)
  }

  #wantIfMissing(id: string, cell: Cell<User | undefined>): void {
    if (this.#options.isActive?.() === false || cell.get() !== undefined) return
    if (!this.#wanted.has(id) && !this.#isMissing(id)) this.#want(id, undefined)
  }

  /**
   * Returns whether the server recently reported that this user does not exist. Prevents a list
   * that renders again and again from requesting the id each time.
   */
  #isMissing(id: string): boolean {
    const untilMs = this.#missing.get(id)
    return untilMs !== undefined && untilMs > this.#clock.now()
  }

  /** Caches profiles that were part of the response to another command. */
  put(users: readonly User[]): void {
    for (const user of users) {
      const cell = this.#cell(user.id)
      const known = cell.get()
      const isSame =
        known?.name === user.name &&
        known.handle === user.handle &&
        known.avatar === user.avatar &&
        known.bot === user.bot
      if (!isSame) cell.set(user)
    }
  }

  /** Empties the cache, rejects waiting callers and cancels the next request. */
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
    // Delete the entry and set it again, so that it moves to the end of the map. The map is in
    // order of use.
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
    this.#after(delayMs, () => this.#request(0))
  }

  #after(delayMs: number, request: () => Promise<void>): void {
    const clears = this.#clears
    this.#cancel = this.#clock.after(delayMs, () => {
      void request().finally(() => {
        if (clears !== this.#clears || this.#isAgain) return
        this.#cancel = undefined
        if (this.#wanted.size > 0) this.#gather(gatherMs)
      })
    })
  }

  async #request(attempt: number): Promise<void> {
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
      this.#after(1_000 * 2 ** attempt, () => this.#request(attempt + 1))
    }
  }

  #take(id: string): readonly Waiter[] {
    const waiters = this.#wanted.get(id) ?? []
    this.#wanted.delete(id)
    return waiters
  }
}
