/**
 * Where users are, as far as the *other* servers know: the part of presence that has to be shared. Each server says what
 * it knows of its own users and asks about those who are watched at it.
 *
 * Promised: nobody is `offline` because nobody could be asked; that is `unknown`. Not promised: that a change is told at
 * once, or each of several changes in a row.
 */
import type { Id, PresenceStatus } from '@chorus/protocol'

export interface Whereabout {
  readonly status: PresenceStatus
  /** When the user was last seen, ISO time; of those who are offline, as far as it is known. */
  readonly lastSeen: string | undefined
}

export const unknownWhereabout: Whereabout = { status: 'unknown', lastSeen: undefined }

export interface Whereabouts {
  /** This server's own word: `undefined` when the user is not here any more, with when they were last seen. Never waits. */
  report(user: Id, status: 'online' | 'away' | undefined, lastSeen?: string): void
  /** From now on changes of this user are told to the listener. Once per user: callers count. */
  follow(user: Id): void
  unfollow(user: Id): void
  /** What is known of somebody who is followed; of others nothing is. */
  elsewhere(user: Id): Whereabout
  /** Asks about users, followed or not; those of whom nothing can be found out are `unknown`. Never rejects. */
  ask(users: readonly Id[]): Promise<ReadonlyMap<Id, Whereabout>>
  onChange(listener: (user: Id) => void): void
  /** Takes back what this server said of its users. */
  stop(): Promise<void>
}

/** Of a single server: nobody is anywhere else. */
export const nowhereElse: Whereabouts = {
  report: () => undefined,
  follow: () => undefined,
  unfollow: () => undefined,
  elsewhere: () => ({ status: 'offline', lastSeen: undefined }),
  ask: async (users) => new Map(users.map((user) => [user, { status: 'offline', lastSeen: undefined }])),
  onChange: () => undefined,
  stop: async () => undefined,
}
