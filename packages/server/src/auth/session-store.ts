/**
 * The session store for @fastify/session. Postgres decides whether a session is valid, the cache in
 * Redis saves queries (session-cache.ts), and the plugin only handles the cookie. A session is
 * stored only when a user signs in, so other clients get no cookie and cost no row. Destroying a
 * session revokes it and keeps its row.
 */
import type { SessionStore } from '@fastify/session'
import type { Id } from '@chorus/protocol'
import type { Session } from 'fastify'
import { hashToken } from './authenticator.ts'
import type { CachedSession } from './session-cache.ts'

declare module 'fastify' {
  interface Session {
    /** The signed-in user and the session's id. They never change after the sign-in. */
    actor?: { readonly userId: Id; readonly sessionId: Id }
    /** User agent of the client that signed in. */
    userAgent?: string | null
  }
}

export interface SessionStoreOptions {
  readonly recognise: (token: string) => Promise<CachedSession | undefined>
  readonly insert: (session: {
    readonly id: Id
    readonly userId: Id
    readonly tokenHash: Buffer
    readonly userAgent: string | null
  }) => Promise<void>
  /** Revokes the session with this token hash and announces it to all servers. */
  readonly revoke: (tokenHash: Buffer) => Promise<void>
}

type Done = (error?: unknown) => void

export class ServerSessionStore implements SessionStore {
  readonly #options: SessionStoreOptions

  constructor(options: SessionStoreOptions) {
    this.#options = options
  }

  get(token: string, done: (error: unknown, session?: Session | null) => void): void {
    this.#options.recognise(token).then(
      (identity) => {
        if (identity === undefined) return done(null, null)
        const { userId, sessionId } = identity
        // Set no expiry here: the database has already checked it by its own clock.
        done(null, { cookie: { originalMaxAge: null }, actor: { userId, sessionId } })
      },
      (error: unknown) => done(error),
    )
  }

  set(token: string, session: Session, done: Done): void {
    // Between an old session and a new one, the plugin stores an empty session, in which no user is
    // signed in. There is nothing to store.
    if (session.actor === undefined) return done()
    const { userId, sessionId } = session.actor
    this.#options
      .insert({ id: sessionId, userId, tokenHash: hashToken(token), userAgent: session.userAgent ?? null })
      .then(() => done(), done)
  }

  destroy(token: string, done: Done): void {
    this.#options.revoke(hashToken(token)).then(() => done(), done)
  }
}
