/**
 * The users whose clients the chaos test runs. The testkit inserts them and their sessions into the
 * database.
 */
import { HttpUser } from '@chorus/testkit'
import type { InsertedPerson as Person, InsertedSession as SessionSeed } from '@chorus/testkit'

export type { Person, SessionSeed }

/** Name of the session cookie on servers without TLS. */
export const cookieName = 'chorus_session'

export function cookieHeader(session: SessionSeed): string {
  return `${cookieName}=${session.cookieValue}`
}

/** Returns an HTTP client that uses this session, by default the person's first one. */
export function signedIn(url: string | (() => string), person: Person, session = person.sessions[0]): HttpUser {
  const http = HttpUser.stranger(url)
  if (session !== undefined) http.cookie = cookieHeader(session)
  return http
}
