/**
 * The people of a run and what they share. People and their sessions are inserted directly: a sign-up costs a password
 * hash, and passwords are not what is broken here. The cookies are signed with the server's own secret, so the servers
 * check them as they check every other. Conversations are made over HTTP, through the front door.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { HttpUser } from '@chorus/testkit'
import type { Databases } from '@chorus/testkit'
import type { Random } from '../run/random.ts'

export interface SessionSeed {
  readonly id: string
  /** The value of the session's cookie. */
  readonly cookieValue: string
}

export interface Person {
  readonly id: string
  readonly handle: string
  /** The first is never revoked. */
  readonly sessions: readonly SessionSeed[]
}

/** `hot`: many members, most of the talk. `churn`: members come and go. `bulk`: few members and many messages. */
export type ConversationRole = 'hot' | 'group' | 'direct' | 'churn' | 'bulk'

export interface ConversationSeed {
  readonly id: string
  readonly role: ConversationRole
  /** Indices of people; the first one made it and stays. */
  readonly members: readonly number[]
}

export const cookieName = 'chorus_session'

/** Inserts people with sessions into a database whose schema a server has made. */
export async function insertPeople(
  databases: Databases,
  databaseUrl: string,
  count: number,
  sessionsEach: number,
): Promise<Person[]> {
  const [setting] = await databases.query<{ value: string }>(
    `select value from settings where key = 'cookie-secret'`,
    [],
    databaseUrl,
  )
  if (setting === undefined) throw new Error('unable to sign cookies; the database holds no secret')
  const people = Array.from({ length: count }, (_, index) => ({
    id: makeId(),
    handle: `p${index}-${randomBytes(4).toString('hex')}`,
    sessions: Array.from({ length: sessionsEach }, () => {
      const token = randomBytes(24).toString('base64url')
      return { id: makeId(), token, cookieValue: encodeURIComponent(sign(token, setting.value)) }
    }),
  }))
  await databases.query(
    `insert into users (id, handle, name, password_hash)
     select id, handle, handle, 'none' from unnest($1::uuid[], $2::text[]) as t (id, handle)`,
    [people.map(({ id }) => id), people.map(({ handle }) => handle)],
    databaseUrl,
  )
  const sessions = people.flatMap(({ id, sessions: own }) => own.map((session) => ({ user: id, ...session })))
  await databases.query(
    `insert into sessions (id, user_id, token_hash, expires_at)
     select id, user_id, token_hash, now() + interval '1 day'
       from unnest($1::uuid[], $2::uuid[], $3::bytea[]) as t (id, user_id, token_hash)`,
    [
      sessions.map(({ id }) => id),
      sessions.map(({ user }) => user),
      sessions.map(({ token }) => createHash('sha256').update(token).digest()),
    ],
    databaseUrl,
  )
  return people.map(({ id, handle, sessions: own }) => ({
    id,
    handle,
    sessions: own.map(({ id: session, cookieValue }) => ({ id: session, cookieValue })),
  }))
}

/** How many conversations of each role, and how many people are in one. */
export type ConversationPlan = readonly (readonly [role: ConversationRole, count: number, members: number])[]

/** A conversation is made with at most so many, its maker not counted. */
const initialMembersMax = 100

/** Makes the conversations through the front door. `seen` is told of each, with when it was asked for. */
export async function makeConversations(
  url: string,
  people: readonly Person[],
  plan: ConversationPlan,
  random: Random,
  seen: (made: ConversationSeed) => void,
): Promise<ConversationSeed[]> {
  const made: ConversationSeed[] = []
  const pairs = new Set<string>()
  for (const [role, count, size] of plan) {
    if (size > initialMembersMax) throw new Error(`unable to make conversations; ${size} people are too many for one`)
    for (let index = 0; index < count; index += 1) {
      const members = pickMembers(role, Math.min(size, people.length), people.length, random, pairs)
      const [owner] = members
      const creator = people[owner ?? 0]
      if (creator === undefined) throw new Error('unable to make conversations; there is nobody')
      const http = signedIn(url, creator)
      const { body } = await http.expect<{ conversation: { id: string } }>(201, 'POST', '/v1/conversations', {
        kind: role === 'direct' ? 'direct' : role === 'hot' ? 'channel' : 'group',
        ...(role !== 'direct' && { name: `${role} ${index}` }),
        members: members.slice(1, initialMembersMax).map((member) => people[member]?.id),
      })
      const seed: ConversationSeed = { id: body.conversation.id, role, members }
      made.push(seed)
      seen(seed)
    }
  }
  return made
}

function pickMembers(
  role: ConversationRole,
  size: number,
  peopleCount: number,
  random: Random,
  pairs: Set<string>,
): number[] {
  const everybody = Array.from({ length: peopleCount }, (_, index) => index)
  for (;;) {
    const members = random.shuffle(everybody).slice(0, size)
    if (role !== 'direct') return members
    const pair = [...members].sort((left, right) => left - right).join()
    if (pairs.has(pair)) continue
    pairs.add(pair)
    return members
  }
}

export function signedIn(url: string | (() => string), person: Person, session = person.sessions[0]): HttpUser {
  const http = HttpUser.stranger(url)
  if (session !== undefined) http.cookie = cookieHeader(session)
  return http
}

export function cookieHeader(session: SessionSeed): string {
  return `${cookieName}=${session.cookieValue}`
}

/** As cookies are signed: value, dot, HMAC in base64 without padding. */
function sign(value: string, secret: string): string {
  return `${value}.${createHmac('sha256', secret).update(value).digest('base64').replaceAll('=', '')}`
}

/** A UUIDv7. */
function makeId(): string {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(Date.now(), 0, 6)
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
