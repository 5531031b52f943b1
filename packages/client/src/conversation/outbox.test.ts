/** Tests of the outbox alone: order, bounds, several tabs, and a failing store. */
import { ChorusError } from '@chorus/protocol'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../testing/eventually.ts'
import type { Acknowledgement } from '../model/api-messages.ts'
import { Outbox, outboxMaxMessages, outboxMaxParallel } from './outbox.ts'
import type { ChatStore, OutboxRecord } from '../model/store.ts'
import { createMemoryStore } from '../store/store-memory.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'

const started: Outbox[] = []
afterEach(() => {
  for (const outbox of started.splice(0)) outbox.stop()
})

interface SentRequest {
  readonly record: OutboxRecord
  readonly answer: (acknowledgement: Acknowledgement | ChorusError) => Promise<void>
}

function setUp(store: ChatStore = createMemoryStore()) {
  const clock = new ManualClock()
  const requests: SentRequest[] = []
  const errors: unknown[] = []
  const line = { isOpen: true }
  const applied = new Map<string, number>()
  const outbox = new Outbox({
    store,
    me: 'u',
    clock,
    isConnected: () => line.isOpen,
    appliedSeqOf: (conversation) => applied.get(conversation) ?? 0,
    onError: (error) => errors.push(error),
    send: (record) =>
      new Promise((resolve, reject) => {
        requests.push({
          record,
          answer: async (result) => {
            if (result instanceof ChorusError) reject(result)
            else resolve(result)
            await settle()
          },
        })
      }),
  })
  started.push(outbox)
  const texts = () => requests.map(({ record }) => record.draft.text)
  const states = () => outbox.items.get().map(({ status }) => status.state)
  return { clock, store, outbox, requests, errors, line, applied, texts, states }
}

const at = (seq: number): Acknowledgement => ({ seq, createdAt: '2026-01-01T00:00:00.000Z' })
const later = (code: 'unavailable' | 'unknown' | 'rate-limited', retryAfterMs?: number) =>
  new ChorusError(code, 'unable to send; later', retryAfterMs === undefined ? {} : { retryAfterMs })

describe('the outbox', () => {
  it('[ORD2] the outbox sends one message per conversation at a time', async () => {
    const { outbox, requests, texts } = setUp()
    for (const text of ['a1', 'a2', 'a3']) await outbox.add('a', { text })
    await outbox.add('b', { text: 'b1' })
    await settle()
    expect(texts()).toEqual(['a1', 'b1'])
    await requests[0]?.answer(at(1))
    expect(texts()).toEqual(['a1', 'b1', 'a2'])
    await requests[2]?.answer(later('unknown'))
    expect(texts()).toEqual(['a1', 'b1', 'a2'])
  })

  it('[IDEM1] the outbox retries a message with the same clientId after the server’s delay', async () => {
    const { outbox, requests, clock } = setUp()
    const sent = await outbox.add('a', { text: 'x' })
    await settle()
    await requests[0]?.answer(later('unknown'))
    await clock.advance(1_000)
    await requests[1]?.answer(later('rate-limited', 5_000))
    await clock.advance(4_999)
    // A reconnect does not shorten the delay that the server asked for.
    outbox.resume()
    expect(requests).toHaveLength(2)
    await clock.advance(5_000)
    expect(requests.map(({ record }) => record.clientId)).toEqual([sent.clientId, sent.clientId, sent.clientId])
    await requests[2]?.answer(at(9))
    expect(await sent.acknowledged).toEqual(at(9))
  })

  it('[ACK2] the outbox shows an acknowledged message until the log contains it', async () => {
    const { outbox, requests, applied, store, states } = setUp()
    await outbox.add('a', { text: 'x' })
    await settle()
    await requests[0]?.answer(at(4))
    expect(states()).toEqual(['acknowledged'])
    expect((await store.readOutbox('u'))[0]?.status).toEqual({ state: 'acknowledged', ...at(4) })
    outbox.settleUpTo('a', 3)
    expect(states()).toEqual(['acknowledged'])
    applied.set('a', 4)
    outbox.settleUpTo('a', 4)
    expect(states()).toEqual([])
    await eventually(async () => expect(await store.readOutbox('u')).toEqual([]))
  })

  it('[ACK2] a message in the log counts as acknowledged when its response was lost', async () => {
    const { outbox, requests, states } = setUp()
    const sent = await outbox.add('a', { text: 'x' })
    await settle()
    outbox.settle(sent.clientId, at(7))
    expect(await sent.acknowledged).toEqual(at(7))
    expect(states()).toEqual([])
    await requests[0]?.answer(later('unknown'))
    expect(states()).toEqual([])
  })

  it('the outbox keeps pending messages while offline and after the session ended', async () => {
    const { outbox, requests, line, states } = setUp()
    line.isOpen = false
    await outbox.add('a', { text: 'x' })
    await settle()
    expect(requests).toHaveLength(0)
    line.isOpen = true
    outbox.resume()
    await settle()
    await requests[0]?.answer(new ChorusError('unauthenticated', 'unable to send; no session'))
    expect(states()).toEqual(['pending'])
  })

  it('the outbox retries a message with a new clientId after `conflict`', async () => {
    const { outbox, requests, store } = setUp()
    const sent = await outbox.add('a', { text: 'x' })
    await settle()
    await requests[0]?.answer(new ChorusError('conflict', 'unable to send; the id is taken'))
    await outbox.retry(sent.clientId)
    await settle()
    expect(requests[1]?.record.clientId).not.toBe(sent.clientId)
    expect(await store.readOutbox('u')).toHaveLength(1)
    await expect(outbox.retry('unheard of')).rejects.toMatchObject({ code: 'not-found' })
  })

  it('the outbox refuses to discard a message that may have been sent', async () => {
    const { outbox } = setUp()
    const first = await outbox.add('a', { text: 'in flight' })
    const second = await outbox.add('a', { text: 'not yet' })
    await settle()
    await expect(outbox.discard(first.clientId)).rejects.toMatchObject({ code: 'conflict' })
    await outbox.discard(second.clientId)
    expect(outbox.items.get().map(({ draft }) => draft.text)).toEqual(['in flight'])
    await expect(second.acknowledged).rejects.toMatchObject({ code: 'not-found' })
  })

  it('[LIM1] the outbox limits the number of queued messages and of parallel sends', async () => {
    const { outbox, requests } = setUp()
    for (let index = 0; index < outboxMaxMessages; index += 1) await outbox.add(`c${index % 20}`, { text: `${index}` })
    await settle()
    expect(requests).toHaveLength(outboxMaxParallel)
    await expect(outbox.add('a', { text: 'one more' })).rejects.toMatchObject({ code: 'too-large' })
  })

  it('the outbox rejects a message that the device cannot store', async () => {
    const store = createMemoryStore()
    const { outbox, requests, states } = setUp({
      ...store,
      putOutbox: () => Promise.reject(new Error('the disk is full')),
    })
    await expect(outbox.add('a', { text: 'x' })).rejects.toMatchObject({ code: 'unavailable' })
    expect(states()).toEqual([])
    expect(requests).toEqual([])
  })

  it('[ORD2] after a restart, the outbox sends messages in the order of writing', async () => {
    const store = createMemoryStore()
    const before = setUp(store)
    before.line.isOpen = false
    for (const text of ['1', '2', '3']) await before.outbox.add('a', { text })
    const after = setUp(store)
    await after.outbox.load()
    for (let index = 0; index < 3; index += 1) {
      await settle()
      await after.requests[index]?.answer(at(index + 1))
    }
    expect(after.texts()).toEqual(['1', '2', '3'])
  })
})

describe('the outbox of several tabs on one store', () => {
  /** Returns a simulated Web Locks API, because this Node version has none. */
  function createLocks(): Pick<LockManager, 'request'> {
    const chains = new Map<string, Promise<unknown>>()
    const request = (name: string, run: () => Promise<unknown>): Promise<unknown> => {
      const result = (chains.get(name) ?? Promise.resolve()).then(run)
      chains.set(
        name,
        result.catch(() => undefined),
      )
      return result
    }
    return { request } as unknown as Pick<LockManager, 'request'>
  }

  it('[IDEM1] [ORD2] several tabs send each message once, from one tab at a time', async () => {
    vi.stubGlobal('navigator', { locks: createLocks(), onLine: true })
    try {
      const store: ChatStore = { ...createMemoryStore(), isShared: true }
      const one = setUp(store)
      const two = setUp(store)
      two.line.isOpen = false
      const sent = await one.outbox.add('a', { text: 'first' })
      await eventually(() => expect(one.texts()).toEqual(['first']))
      // The second tab shows the message, too, but does not send it while the first tab is sending
      // it.
      await eventually(() => expect(two.states()).toEqual(['pending']))
      two.line.isOpen = true
      two.outbox.resume()
      await two.outbox.add('a', { text: 'second' })
      await settle()
      expect(two.texts()).toEqual([])
      await one.requests[0]?.answer(at(1))
      expect(await sent.acknowledged).toEqual(at(1))
      await eventually(() => expect([...one.texts(), ...two.texts()]).toEqual(['first', 'second']))
    } finally {
      vi.unstubAllGlobals()
    }
  })
})
