/**
 * Rate limits of a running server: opening a connection, creating a conversation and changing a
 * membership cost the same on every transport (rule LIM3).
 */
import { randomUUID } from 'node:crypto'
import { HttpUser, SocketUser, type ServerProcess } from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess | undefined
afterEach(async () => {
  await server?.remove()
  server = undefined
})

async function start(env: Record<string, string>): Promise<() => string> {
  server = await startQuickServer({ env })
  const { url } = server
  return () => url
}

interface Refusal extends Error {
  readonly data?: { readonly code: string; readonly retryAfterMs?: number }
}

async function connectAndLeave(user: HttpUser, transports?: ('websocket' | 'polling')[]): Promise<Refusal | undefined> {
  try {
    const socket = await SocketUser.connect(user.url, {
      cookie: user.cookie,
      ...(transports !== undefined && { transports }),
    })
    socket.close()
    return undefined
  } catch (error) {
    return error as Refusal
  }
}

describe('the limit on new connections', () => {
  it('[LIM3] the limit on new connections is shared by all transports of an account', async () => {
    const url = await start({ LIMIT_CONNECTS: '1' })
    const ada = await HttpUser.signUp(url)
    const bob = await HttpUser.signUp(url)
    const refusals: Refusal[] = []
    let opened = 0
    while (refusals.length === 0 && opened < 60) {
      const refusal = await connectAndLeave(ada, opened % 2 === 0 ? ['websocket'] : ['polling'])
      if (refusal === undefined) opened++
      else refusals.push(refusal)
    }
    expect(opened).toBeGreaterThanOrEqual(10)
    expect(refusals[0]?.data).toMatchObject({ code: 'rate-limited', retryAfterMs: expect.any(Number) as number })
    // Open several streams at once: the budget refills with time, so a single stream could be
    // allowed.
    const streams = await Promise.all(
      Array.from({ length: 5 }, () =>
        ada
          .call('GET', '/v1/events', undefined, { headers: { accept: '*/*' }, timeoutMs: 2_000 })
          .catch(() => undefined),
      ),
    )
    const refused = streams.find((answer) => answer?.status === 429)
    expect(Number(refused?.headers['retry-after'])).toBeGreaterThan(0)
    expect(await connectAndLeave(bob)).toBeUndefined()
  })

  it('[LIM3] new connections above the address limit get an error, later a plain 429', async () => {
    const url = await start({ LIMIT_CONNECTS: '0', LIMIT_CONNECTS_ADDRESS: '1' })
    const ada = await HttpUser.signUp(url)
    const poll = () => ada.call('GET', '/socket.io/?EIO=4&transport=polling')
    const told: Refusal[] = []
    for (let attempt = 0; attempt < 60 && told.length === 0; attempt++) {
      const refusal = await connectAndLeave(ada)
      if (refusal !== undefined) told.push(refusal)
    }
    expect(told[0]?.data).toMatchObject({ code: 'rate-limited' })
    const answers = await Promise.all(Array.from({ length: 40 }, poll))
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused.length).toBeGreaterThan(0)
    expect(Number(refused[0]?.headers['retry-after'])).toBeGreaterThan(0)
    expect(refused[0]?.body).toMatchObject({ code: 'rate-limited' })
    // Other requests still work, because they have a separate budget.
    await ada.expect(200, 'GET', '/v1/session')
  })
})

it('[LIM3] joining, leaving and reacting use the rate limit of messages', async () => {
  const url = await start({ LIMIT_SENDS: '1' })
  const ada = await HttpUser.signUp(url)
  const bob = await HttpUser.signUp(url)
  const channel = await ada.createConversation('channel', [])
  const statuses: number[] = []
  for (let turn = 0; turn < 4; turn++) {
    const path = `/v1/conversations/${channel}/members/me`
    statuses.push((await bob.call('PUT', path, {})).status, (await bob.call('DELETE', path)).status)
  }
  expect(statuses).toContain(429)
})

it('[IDEM2] a repeated creation of a conversation answers 200 with the same conversation', async () => {
  const url = await start({})
  const [ada, bob] = [await HttpUser.signUp(url), await HttpUser.signUp(url)]
  const creation = { kind: 'group', members: [bob.id], clientId: randomUUID() }
  interface Created {
    readonly conversation: { readonly id: string }
    readonly duplicate?: true
  }
  const first = await ada.expect<Created>(201, 'POST', '/v1/conversations', creation)
  const again = await ada.expect<Created>(200, 'POST', '/v1/conversations', creation)
  expect(again.body).toMatchObject({ duplicate: true, conversation: { id: first.body.conversation.id } })
  const other = await ada.call('POST', '/v1/conversations', { ...creation, members: [] })
  expect(other.status).toBe(409)
})
