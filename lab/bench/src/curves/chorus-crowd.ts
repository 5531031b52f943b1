/**
 * Creates the users and rooms of a measured Chorus cluster. Inserts them directly into the
 * database, because a curve needs tens of thousands of users and rooms. All rooms exist before the
 * first client connects, so no connection receives a notice about a new room during the
 * measurement.
 */
import { HttpUser, insertConversations, insertPeople } from '@chorus/testkit'
import type { Databases, InsertedPerson } from '@chorus/testkit'
import type { Audience } from '../targets/target.ts'
import { readBystanders } from './bystander-watch.ts'
import type { ControlConnection, BystanderUse } from './bystander-watch.ts'
import type { Cliques, Population } from './crowd.ts'

const peopleTogether = 5_000

export class ChorusCrowd implements Population {
  readonly #databases: Databases
  readonly #databaseUrl: string
  readonly #url: string
  readonly #people: InsertedPerson[] = []

  /** @param url - URL of one of the Chorus servers */
  constructor(databases: Databases, databaseUrl: string, url: string) {
    this.#url = url
    this.#databases = databases
    this.#databaseUrl = databaseUrl
  }

  async room(receivers: number, senders: number): Promise<Audience> {
    const people = await this.#take(receivers)
    const [conversation = ''] = await this.#insert([people])
    return {
      members: people.map((person) => ({ cookie: cookieOf(person), group: 0, hears: true })),
      senders: Array.from({ length: Math.min(senders, receivers) }, (_, member) => sender(member, conversation)),
    }
  }

  async cliques({ people: count, size, rooms }: Cliques): Promise<Audience> {
    const people = await this.#take(count)
    const cliques = Math.floor(count / size)
    const conversations = await this.#insert(
      Array.from({ length: rooms }, (_, room) => people.slice((room % cliques) * size, ((room % cliques) + 1) * size)),
    )
    return {
      members: people.map((person, index) => {
        const clique = Math.floor(index / size)
        return { cookie: cookieOf(person), group: clique, hears: clique < Math.min(cliques, rooms) }
      }),
      senders: conversations.map((conversation, room) =>
        sender((room % cliques) * size + (Math.floor(room / cliques) % size), conversation),
      ),
    }
  }

  /** Puts every user into `each` rooms of `size` members. No user sends messages. */
  async silent(count: number, { each, size }: { readonly each: number; readonly size: number }): Promise<Audience> {
    const people = await this.#take(count)
    const rooms: InsertedPerson[][] = []
    for (let deal = 0; deal < each; deal++) {
      // Each pass assigns the users to rooms in another order, so that a user shares each room
      // with different users.
      const dealt = [...people].map((person, index) => ({ person, turn: (index * (2 * deal + 1)) % count }))
      dealt.sort((a, b) => a.turn - b.turn)
      for (let from = 0; from < count; from += size)
        rooms.push(dealt.slice(from, from + size).map(({ person }) => person))
    }
    await this.#insert(rooms)
    return { members: people.map((person) => ({ cookie: cookieOf(person), group: 0, hears: false })), senders: [] }
  }

  /** Returns the size in bytes of the WebSocket frame that delivers the newest message alone. */
  async readDeliveryBytes(): Promise<number> {
    const [row] = await this.#databases.query<{ conversation: string; seq: string; actor: string }>(
      `select conversation, seq, actor from changes where type = 'message.created' order by xid desc limit 1`,
      [],
      this.#databaseUrl,
    )
    const reader = this.#people.find(({ id }) => id === row?.actor)
    if (row === undefined || reader === undefined) return 0
    const http = HttpUser.stranger(this.#url)
    http.cookie = cookieOf(reader)
    const { body } = await http.expect<{ changes: readonly unknown[] }>(
      200,
      'GET',
      `/v1/conversations/${row.conversation}/changes?after=${Number(row.seq) - 1}&limit=1`,
    )
    const event = JSON.stringify(['changes', { conversation: row.conversation, changes: body.changes }])
    return 4 + Buffer.byteLength(`42${event}`)
  }

  readBystanders(bystanders: readonly ControlConnection[]): Promise<BystanderUse> {
    return readBystanders(bystanders, this.#databases, this.#databaseUrl)
  }

  async #take(count: number): Promise<InsertedPerson[]> {
    while (this.#people.length < count) {
      const missing = Math.min(peopleTogether, count - this.#people.length)
      this.#people.push(...(await insertPeople(this.#databases, this.#databaseUrl, missing, 1)))
    }
    return this.#people.slice(0, count)
  }

  async #insert(rooms: readonly (readonly InsertedPerson[])[]): Promise<string[]> {
    const ids = await insertConversations(this.#databases, this.#databaseUrl, {
      conversations: rooms.map((members) => ({ members: members.map(({ id }) => id) })),
    })
    // A database in production has statistics for its query planner.
    await this.#databases.query('analyze', [], this.#databaseUrl)
    return ids
  }
}

const cookieOf = ({ sessions: [session] }: InsertedPerson): string => `chorus_session=${session?.cookieValue ?? ''}`

const sender = (member: number, conversation: string) => ({
  member,
  payloadHead: `{"conversation":"${conversation}",`,
  clientIds: true,
})
