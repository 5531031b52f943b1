/**
 * What @fastify/session stands on: Postgres decides validity, Redis saves it questions (session-cache.ts), the plugin only
 * carries the cookie. A session is stored when somebody signs in and never otherwise, so strangers get no cookie and no
 * row; a destroyed one is revoked, not deleted.
 */
import type { SessionStore } from '@fastify/session'
import type { Id } from '@chorus/protocol'
import type { Session } from 'fastify'
import { hashToken } from './authenticator.ts'
import type { CachedSession } from './session-cache.ts'

declare module 'fastify' {
  interface Session {
    /** Who this is; stays as it was at sign-in. */
    actor?: { readonly userId: Id; readonly sessionId: Id }
    /** Where the sign-in came from. */
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
  /** Revokes the session with this token and tells everybody. */
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
        // No expiry here: the database has judged it by its own clock.
        done(null, { cookie: { originalMaxAge: null }, actor: { userId, sessionId } })
      },
      (error: unknown) => done(error),
    )
  }

  set(token: string, session: Session, done: Done): void {
    // Between an old session and a new one the plugin stores an empty one: nobody is signed in, so there is nothing to store.
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
