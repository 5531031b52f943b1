/** Public interfaces of user profiles and presence. The conventions of `api.ts` apply. */
import type { Presence, User } from '@chorus/protocol'
import type { Observable } from '../support/observable.ts'

/** User profiles, loaded in batches and cached (at most 2000). */
export interface Users {
  /**
   * Returns an observable of a user's profile and requests the profile if it is missing. The value
   * is undefined until loaded, and for a user who does not exist.
   */
  observe(id: string): Observable<User | undefined>
  /**
   * Returns a profile from the cache or the server. Rejects with `not-found` if the user does not
   * exist.
   */
  get(id: string): Promise<User>
}

/**
 * Presence of users that share a conversation with me. Other users are `unknown`. At most 100 users
 * are watched at a time; further ones stay `unknown`. After 5 s without a connection all are
 * `unknown`. `lastSeen` is an ISO 8601 time or null.
 */
export interface PresenceWatcher {
  /** Returns an observable of one user's presence. The user is watched while it has a listener. */
  observe(user: string): Observable<Presence>
  /** Watches several users until `close` is called on the result. */
  watch(users: readonly string[]): PresenceWatch
  /**
   * Sets whether the user of this device is active (`online`) or not (`away`). `away` is sent again
   * after each reconnect.
   */
  setStatus(status: 'online' | 'away'): Promise<void>
}

/** Result of `PresenceWatcher.watch`. */
export interface PresenceWatch {
  /** Presence by user id. */
  readonly presence: Observable<ReadonlyMap<string, Presence>>
  /** Stops watching these users. */
  close(): void
}
