/**
 * Servers of the last release are replaced by present ones, one after the other, while users of both
 * SDKs write and an API key posts cards. No message is lost or doubled, and both versions serve.
 */
import { randomUUID } from 'node:crypto'
import type { createChatClient } from '@chorus/client'
import {
  type Cluster,
  createApiKey,
  hasBalancer,
  hasPostgres,
  hasRedis,
  HttpUser,
  makeClaims,
  signToken,
  startCluster,
  waitForFact,
} from '@chorus/testkit'
import { expect, it } from 'vitest'
import { hasLastRelease, prepareLastRelease } from '../last-release.ts'
import { BusyUser } from './busy-user.ts'

interface Posted {
  readonly message: { readonly seq: number }
}

/** A back end with an API key, which posts cards into the conversation of a subject. */
class BackEnd {
  readonly conversation: string
  readonly #url: string
  readonly #secret: string

  private constructor(url: string, secret: string, conversation: string) {
    this.#url = url
    this.#secret = secret
    this.conversation = conversation
  }

  /** Creates the conversation of a subject with these users and the customer `buyer`. */
  static async start(url: string, secret: string, users: readonly HttpUser[]): Promise<BackEnd> {
    const setUp = new BackEnd(url, secret, '')
    await setUp.#ask('PUT', '/v1/admin/users/buyer', { name: 'Buyer' })
    const path = '/v1/admin/subjects/order/17/conversation'
    const created = await setUp.#ask<{ conversation: { id: string } }>('PUT', path, {
      kind: 'group',
      name: 'Order 17',
      members: ['buyer'],
    })
    const { id } = created.conversation
    for (const user of users) await setUp.#ask('PUT', `/v1/conversations/${id}/members/${user.id}`, {})
    return new BackEnd(url, secret, id)
  }

  /** Posts a card, twice with the same clientId. Returns its seq. */
  async postCard(): Promise<number> {
    const body = {
      clientId: randomUUID(),
      card: { type: 'offer', title: 'Blue shoes', state: 'open', actions: [{ id: 'accept', label: 'Accept' }] },
    }
    const path = `/v1/admin/conversations/${this.conversation}/messages`
    const [first, second] = [await this.#ask<Posted>('POST', path, body), await this.#ask<Posted>('POST', path, body)]
    expect(second.message.seq).toBe(first.message.seq)
    return first.message.seq
  }

  /** The buyer acts twice with one clientId: one change. */
  async act(card: number): Promise<void> {
    const path = `/v1/conversations/${this.conversation}/messages/${card}/actions`
    const body = { clientId: randomUUID(), version: 1, action: 'accept' }
    const asBuyer = { 'chorus-as': 'buyer' }
    const [first, second] = [await this.#ask('POST', path, body, asBuyer), await this.#ask('POST', path, body, asBuyer)]
    expect(second).toEqual(first)
  }

  async finish(card: number): Promise<void> {
    const path = `/v1/admin/conversations/${this.conversation}/messages/${card}/card`
    await this.#ask('PATCH', path, { version: 1, state: 'accepted', actions: [] })
  }

  async #ask<Body>(method: string, path: string, body: unknown, headers = {}): Promise<Body> {
    const answer = await HttpUser.stranger(this.#url).call<Body>(method, path, body, {
      headers: { authorization: `Bearer ${this.#secret}`, ...headers },
    })
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }
}

async function replace(cluster: Cluster, index: number, busy: readonly BusyUser[]): Promise<void> {
  expect(await cluster.stop(index)).toEqual({ code: 0, signal: null })
  const before = busy.map(({ acknowledged }) => acknowledged.size)
  await cluster.start(index)
  await waitForFact(async () => (await fetch(`${cluster.urls[index]}/readyz`)).status === 200, { what: 'readiness' })
  await waitForFact(() => busy.every(({ acknowledged }, who) => acknowledged.size > (before[who] ?? 0) + 5), {
    what: 'more sends',
  })
}

function expectNothingLost(user: BusyUser, seqOf: ReadonlyMap<string, number>, top: number): void {
  expect(user.errors).toEqual([])
  expect(user.acknowledged.size).toBe(user.order.length)
  for (const [clientId, seq] of user.acknowledged) expect(seqOf.get(clientId)).toBe(seq)
  const [first = 0] = user.noticed
  expect(user.noticed).toEqual(Array.from({ length: top - first + 1 }, (_, offset) => first + offset))
}

it.skipIf(!hasPostgres() || !hasRedis() || !hasBalancer('haproxy') || !hasLastRelease())(
  '[CLI1] [CARD1] a rolling upgrade from the last release loses no message and no card',
  async () => {
    const release = prepareLastRelease()
    const { createChatClient: createOldClient } = (await import(release.client)) as {
      readonly createChatClient: typeof createChatClient
    }
    const present = new URL('../../packages/server/dist/main.js', import.meta.url).pathname
    const mainFiles = [release.serverMain, release.serverMain]
    const cluster = await startCluster({
      servers: 2,
      mainFileOf: (index) => mainFiles[index] ?? present,
      env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', DRAIN_NOTICE_MS: '1500', DRAIN_MS: '4000' },
    })
    try {
      const users = await Promise.all(Array.from({ length: 4 }, () => HttpUser.signUp(cluster.url)))
      const [owner, ...others] = users
      if (owner === undefined) throw new Error('nobody signed up')
      const group = await owner.createConversation(
        'group',
        others.map(({ id }) => id),
      )
      const busy = await Promise.all(
        users.map((user, index) =>
          BusyUser.enter(cluster.url, user, group, {
            transport: index === 3 ? 'sse' : 'socket-io',
            ...(index % 2 === 1 && { createClient: createOldClient }),
          }),
        ),
      )
      let isGoing = true
      const lives = busy.map((user) => user.live(() => isGoing))

      mainFiles[0] = present
      await replace(cluster, 0, busy)
      // Now one server of each version runs on one database.
      const [presentUrl = '', lastUrl = ''] = cluster.urls
      const key = await createApiKey({ databaseUrl: cluster.databaseUrl })
      const backEnd = await BackEnd.start(presentUrl, key.secret, users)
      const token = signToken(key.signing, makeClaims('buyer'))
      const signIn = { headers: { authorization: `Bearer ${token}` } }
      const [served, refused] = await Promise.all(
        [presentUrl, lastUrl].map((url) => HttpUser.stranger(url).call('GET', '/v1/conversations', undefined, signIn)),
      )
      expect([served?.status, refused?.status]).toEqual([200, 401])
      const card = await backEnd.postCard()
      await backEnd.act(card)
      await owner.expect(200, 'PUT', `/v1/conversations/${backEnd.conversation}/messages/${card}/reactions/👍`)
      const afterActs = card + 2
      await waitForFact(() => busy.every(({ noticedElsewhere }) => noticedElsewhere.includes(afterActs)), {
        what: 'the act and the reaction at every client',
      })

      mainFiles[1] = present
      await replace(cluster, 1, busy)
      await backEnd.finish(card)
      await waitForFact(() => busy.every(({ noticedElsewhere }) => noticedElsewhere.includes(afterActs + 1)), {
        what: 'the final card at every client',
      })
      isGoing = false
      await Promise.all(lives)
      await waitForFact(() => busy.every(({ waiting }) => waiting.length === 0), { what: 'empty outboxes' })

      const log = await owner.readLog(group)
      const top = log.at(-1)?.seq ?? 0
      expect(log.map(({ seq }) => seq)).toEqual(Array.from({ length: top }, (_, index) => index + 1))
      await waitForFact(() => busy.every((user) => user.top === top), { what: 'everybody caught up' })
      const created = log.flatMap(({ type, seq, message }) =>
        type === 'message.created' && message !== undefined ? [[message.clientId, seq] as const] : [],
      )
      const seqOf = new Map(created)
      expect(seqOf.size).toBe(created.length)
      for (const user of busy) {
        expectNothingLost(user, seqOf, top)
        expect(user.noticedElsewhere.filter((seq) => seq >= card)).toEqual([card, card + 1, card + 2, card + 3])
      }
      const cards = await owner.readLog(backEnd.conversation)
      expect(cards.filter(({ seq }) => seq >= card).map(({ type }) => type)).toEqual([
        'message.created',
        'card.acted',
        'reaction.added',
        'card.updated',
      ])
      const final = await owner.expect<{ message: { card: unknown } }>(
        200,
        'GET',
        `/v1/conversations/${backEnd.conversation}/messages/${card}`,
      )
      expect(final.body.message.card).toMatchObject({ version: 2, state: 'accepted', acted: null })
      await Promise.all(busy.map((user) => user.leave()))
    } finally {
      await cluster.remove()
    }
  },
)
