/**
 * Creates one hostile account with its own data: a group with big messages, a channel, other users
 * whose ids it may send, many sessions, because some attacks end the session that they use, and an
 * API key for the commands of the server API. Takes about a second on Postgres. It is slower with
 * the embedded database, where the users sign up one by one.
 */
import { randomUUID } from 'node:crypto'
import { createApiKey } from '../api-key.ts'
import { HttpUser } from '../http-user.ts'
import { insertPeople } from '../insert-people.ts'
import type { InsertedSession } from '../insert-people.ts'
import type { Databases } from '../postgres.ts'
import type { AttackerWorld } from './worst-inputs.ts'

const insertedPeople = 110
/**
 * Number of users that sign up with the embedded database. A sign-up is slow because of its
 * password hash, and the default limits allow 100 sign-ups per minute.
 */
const signedUpPeople = 50
const sessionsOfAttacker = 600
/**
 * Number of sessions whose ids the attacker sends (to revoke them) but whose cookies it does not
 * use.
 */
const revocableSessions = 100
const firstMembers = 50
const messagesEach = 20
const bigMessageChars = 10_000
const externalUsers = 10

export interface Attacker {
  readonly world: AttackerWorld
  /**
   * Returns a session cookie of the attacker. On Postgres, each call returns the cookie of another
   * session; on the embedded database, always the same one.
   */
  takeCookie(): string
  /** Secret of an API key with all scopes. */
  readonly apiKey: string
}

export interface AttackedDatabase {
  readonly databases: Databases
  readonly databaseUrl: string
}

/**
 * Signs up an attacker and creates its data. `database`: the Postgres database to insert users
 * into, or the data folder of a server with the embedded database.
 */
export async function makeAttacker(url: string, place: AttackedDatabase | { dataDir: string }): Promise<Attacker> {
  const database = 'databaseUrl' in place ? place : undefined
  const attacker = await HttpUser.signUp(url)
  const people = database === undefined ? await signUpPeople(url) : await insertIds(database)
  const sessions = database === undefined ? [] : await insertSessions(database, attacker.id)
  const cookies = sessions.slice(revocableSessions).map(({ cookieValue }) => `chorus_session=${cookieValue}`)
  const group = await attacker.createConversation('group', people.slice(0, firstMembers), 'the attacker and others')
  const channel = await attacker.createConversation('channel')
  const apiKey = (await createApiKey(place)).secret
  const externalIds = await putExternalUsers(url, apiKey)
  const seqs: number[] = []
  for (let n = 0; n < messagesEach; n++) {
    seqs.push((await attacker.send(group, 'm'.repeat(bigMessageChars))).seq)
    await attacker.send(channel, `message ${n}`)
  }
  const subject = { type: 'order', id: '7' }
  const card = { conversation: channel, seq: await postCard(url, apiKey, channel, subject) }
  return {
    world: {
      conversations: [group, channel],
      users: people,
      sessions: sessions.length === 0 ? people : sessions.slice(0, revocableSessions).map(({ id }) => id),
      externalIds,
      card,
      subject,
      topSeq: Math.min(...seqs) + messagesEach - 1,
      handle: attacker.handle,
      password: 'a wrong password',
    },
    apiKey,
    takeCookie() {
      if (database === undefined) return attacker.cookie ?? ''
      const cookie = cookies.pop()
      if (cookie === undefined) throw new Error(`unable to attack; all ${sessionsOfAttacker} sessions are used`)
      return cookie
    },
  }
}

/** Creates users of the API key. Returns their external ids. */
async function putExternalUsers(url: string, apiKey: string): Promise<string[]> {
  const users = Array.from({ length: externalUsers }, (_, n) => ({ externalId: `external-${n}`, name: `User ${n}` }))
  const headers = { authorization: `Bearer ${apiKey}` }
  await HttpUser.stranger(url).expect(200, 'POST', '/v1/admin/users', { users }, { headers })
  return users.map(({ externalId }) => externalId)
}

/** Creates the conversation of the subject, and posts a card to the channel. Returns its seq. */
async function postCard(
  url: string,
  apiKey: string,
  channel: string,
  { type, id }: AttackerWorld['subject'],
): Promise<number> {
  const options = { headers: { authorization: `Bearer ${apiKey}` } }
  const http = HttpUser.stranger(url)
  const order = { kind: 'group', name: 'Order', members: [] }
  await http.expect(201, 'PUT', `/v1/admin/subjects/${type}/${id}/conversation`, order, options)
  const card = { type: 'offer', title: 'Offer', state: 'open', actions: [{ id: 'accept', label: 'Accept' }] }
  const message = { clientId: randomUUID(), card }
  const path = `/v1/admin/conversations/${channel}/messages`
  const { body } = await http.expect<{ message: { seq: number } }>(201, 'POST', path, message, options)
  return body.message.seq
}

async function signUpPeople(url: string): Promise<string[]> {
  const ids: string[] = []
  for (let n = 0; n < signedUpPeople; n++) ids.push((await HttpUser.signUp(url)).id)
  return ids
}

async function insertIds({ databases, databaseUrl }: AttackedDatabase): Promise<string[]> {
  return (await insertPeople(databases, databaseUrl, insertedPeople, 1)).map(({ id }) => id)
}

async function insertSessions(
  { databases, databaseUrl }: AttackedDatabase,
  user: string,
): Promise<readonly InsertedSession[]> {
  const [person] = await insertPeople(databases, databaseUrl, 1, sessionsOfAttacker)
  if (person === undefined) throw new Error('unable to insert the sessions of the attacker')
  await databases.query('update sessions set user_id = $1 where user_id = $2', [user, person.id], databaseUrl)
  return person.sessions
}
