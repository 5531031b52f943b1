/**
 * Presence of users at *other* servers, the part of presence that servers have to share. Each
 * server reports its own users to this store, and reads the users that its connections watch.
 *
 * Guarantee: a user is never reported `offline` only because the store cannot answer; such a user
 * is `unknown`. Not guaranteed: that a change is reported at once, or that each of several quick
 * changes is reported.
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
   * Reports the status of a user at this server. Status `undefined` means that the user left at the
   * time `lastSeen`. Never waits.
   */
  report(user: Id, status: 'online' | 'away' | undefined, lastSeen?: string): void
  /**
   * Starts to follow a user: from now on, the store calls its listener for changes of this user.
   * Call it once per user; the caller counts the watchers.
   */
  follow(user: Id): void
  unfollow(user: Id): void
  /**
   * Returns the status of a followed user at the other servers. Returns `unknown` for users that
   * are not followed.
   */
  elsewhere(user: Id): RemotePresence
  /**
   * Reads the status of users at the other servers, followed or not. A user whose status cannot be
   * determined is `unknown`. Never rejects.
   */
  ask(users: readonly Id[]): Promise<ReadonlyMap<Id, RemotePresence>>
  onChange(listener: (user: Id) => void): void
  /** Removes the reports about this server's users, because the server stops. */
  stop(): Promise<void>
}

/** Presence store of a single server: no user is connected to another one. */
export const localOnlyPresence: PresenceStore = {
  report: () => undefined,
  follow: () => undefined,
  unfollow: () => undefined,
  elsewhere: () => ({ status: 'offline', lastSeen: undefined }),
  ask: async (users) => new Map(users.map((user) => [user, { status: 'offline', lastSeen: undefined }])),
  onChange: () => undefined,
  stop: async () => undefined,
}
