/**
 * Tests for browser faults of IndexedDB at run time: every call still ends, and pending messages
 * are not lost.
 */
import 'fake-indexeddb/auto'
import { randomUUID } from 'node:crypto'
import { openDB } from 'idb'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createChatClient } from '../chat-client.ts'
import type { OutboxRecord } from '../model/store.ts'
import { callMaxMs, openMaxMs } from './indexeddb-database.ts'
import { createIndexedDbStore } from './store-indexeddb.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'

const user = { id: 'user-1', handle: 'ada', name: 'Ada', avatar: null, bot: false }
const waiting: OutboxRecord = {
  clientId: 'm-1',
  conversation: 'c-1',
  order: 1,
  draft: { text: 'waits' },
  createdAt: '2026-01-01T00:00:00.000Z',
  status: { state: 'pending', attempts: 0 },
}

/** Collects every database connection that is opened after this call. */
function captureConnections(): IDBDatabase[] {
  const opened: IDBDatabase[] = []
  const open = indexedDB.open.bind(indexedDB)
  vi.spyOn(indexedDB, 'open').mockImplementation((...parameters) => {
    const request = open(...parameters)
    request.addEventListener('success', () => opened.push(request.result))
    return request
  })
  return opened
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the IndexedDB store', () => {
  it('the IndexedDB store reopens a database that was closed without an event', async () => {
    const opened = captureConnections()
    const store = createIndexedDbStore(randomUUID())
    await store.writeAccount({ user })
    for (const database of opened) database.close()
    await store.putOutbox('user-1', waiting)
    expect(await store.readAccount()).toEqual({ user })
    expect(opened).toHaveLength(2)
    expect(store.storage?.get()).toBe('persistent')
    await store.close()
  })

  it('the IndexedDB store continues in memory when a newer tab needs the database', async () => {
    const name = randomUUID()
    const store = createIndexedDbStore(name)
    await store.writeAccount({ user })
    await store.putOutbox('user-1', waiting)
    const newer = await openDB(name, 2)
    expect(await store.readOutbox('user-1')).toEqual([waiting])
    expect(await store.readAccount()).toEqual({ user })
    await store.putOutbox('user-1', { ...waiting, clientId: 'm-2', order: 2 })
    expect((await store.readOutbox('user-1')).map(({ clientId }) => clientId)).toEqual(['m-1', 'm-2'])
    expect(store.storage?.get()).toBe('memory')
    newer.close()
    await store.close()
  })

  it('the IndexedDB store works in memory when the database does not open', async () => {
    const clock = new ManualClock()
    vi.spyOn(indexedDB, 'open').mockImplementation(() => new IDBOpenDBRequest())
    const store = createIndexedDbStore(randomUUID(), clock)
    const read = store.readAccount()
    await clock.advance(2 * openMaxMs + 1)
    expect(await read).toBeUndefined()
    expect(store.storage?.get()).toBe('memory')
    // From here on the store works in memory, so no call waits for the database.
    await store.writeAccount({ user })
    await store.putOutbox('user-1', waiting)
    expect(await store.readAccount()).toEqual({ user })
    await store.clear('user-1', { outbox: true })
    expect(await store.readOutbox('user-1')).toEqual([])
    await store.close()
  })

  it('the IndexedDB store works in memory when a transaction never ends', async () => {
    const clock = new ManualClock()
    const opened = captureConnections()
    const store = createIndexedDbStore(randomUUID(), clock)
    await store.putOutbox('user-1', waiting)
    vi.spyOn(IDBDatabase.prototype, 'transaction').mockImplementation(() => {
      const transaction = new IDBTransaction()
      vi.spyOn(transaction, 'objectStore').mockImplementation(() => ({ get: () => new IDBRequest() }) as never)
      return transaction
    })
    const reading = store.readOutbox('user-1')
    for (let tries = 0; tries < 2; tries += 1) {
      await vi.waitFor(() => expect(opened).toHaveLength(tries + 1))
      await settle()
      await clock.advance(callMaxMs + 1)
    }
    expect(await reading).toEqual([waiting])
    expect(store.storage?.get()).toBe('memory')
  })

  it('the IndexedDB store works in memory when the browser refuses IndexedDB', async () => {
    vi.spyOn(indexedDB, 'open').mockImplementation(() => {
      throw new DOMException('not allowed', 'SecurityError')
    })
    const errors: unknown[] = []
    const client = createChatClient({
      url: 'http://chat.example',
      store: createIndexedDbStore(randomUUID()),
      fetch: () => Promise.resolve(Response.json({ code: 'unauthenticated', detail: 'no session' }, { status: 401 })),
      onError: (error) => errors.push(error),
    })
    expect(client.storage.get()).toBe('persistent')
    await client.start()
    expect(client.storage.get()).toBe('memory')
    expect(client.session.get()).toEqual({ status: 'signed-out', reason: 'asked' })
    await client.signOut()
    await client.stop()
    expect(errors.map(String)).toEqual(['ChorusError: unable to keep data on this device; its database cannot be used'])
  })

  it('the IndexedDB store rejects an unstorable value and keeps using the database', async () => {
    const store = createIndexedDbStore(randomUUID())
    const draft = { text: 'x', data: (() => undefined) as never }
    await expect(store.putOutbox('user-1', { ...waiting, draft })).rejects.toMatchObject({ name: 'DataCloneError' })
    expect(store.storage?.get()).toBe('persistent')
    await store.close()
  })
})
