/**
 * Presence of users at the *other* servers: the part of presence that servers have to share. Each
 * server reports its own users and asks about the users that are watched at it.
 *
 * Guarantee: a user is never `offline` because the store cannot answer; such a user is `unknown`.
 * Not guaranteed: that a change is reported at once, or that each of several changes in a row is
 * reported.
 */
import type { Id, PresenceStatus } from '@chorus/protocol'

export interface RemotePresence {
  readonly status: PresenceStatus
  /** Time when an offline user was last seen (ISO), if known. */
  readonly lastSeen: string | undefined
}

export const unknownRemotePresence: RemotePresence = { status: 'unknown', lastSeen: undefined }

export interface PresenceStore {
  /**
   * Reports the status of a user at this server. `undefined` means that the user is gone;
   * `lastSeen` is then the time. Never waits.
   */
  report(user: Id, status: 'online' | 'away' | undefined, lastSeen?: string): void
  /**
   * Starts calling the listener for changes of this user. Call it once per user: the caller counts
   * the watchers.
   */
  follow(user: Id): void
  unfollow(user: Id): void
  /** Returns the known status of a followed user, and `unknown` for any other user. */
  elsewhere(user: Id): RemotePresence
  /**
   * Asks about users, followed or not. A user whose status cannot be determined is `unknown`. Never
   * rejects.
   */
  ask(users: readonly Id[]): Promise<ReadonlyMap<Id, RemotePresence>>
  onChange(listener: (user: Id) => void): void
  /** Withdraws the reports about this server's users. */
  stop(): Promise<void>
}

/** Presence store of a single server: no user is connected elsewhere. */
export const localOnlyPresence: PresenceStore = {
  report: () => undefined,
  follow: () => undefined,
  unfollow: () => undefined,
  elsewhere: () => ({ status: 'offline', lastSeen: undefined }),
  ask: async (users) => new Map(users.map((user) => [user, { status: 'offline', lastSeen: undefined }])),
  onChange: () => undefined,
  stop: async () => undefined,
}
