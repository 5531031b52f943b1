/**
 * Store for browsers: one IndexedDB database for all tabs of an origin. Each commit is one
 * transaction, so a cursor is never stored without the data that it covers. A tab with outdated
 * data cannot replace newer data (`store-merge.ts`).
 *
 * Guarantee: every call ends (`indexeddb-database.ts`). When the browser refuses or loses the
 * database, the store continues in memory with the pending messages that this tab has read or
 * written.
 */
import { type Clock, systemClock } from '../support/clock.ts'
import type {
  AccountRecord,
  ChatStore,
  CommitOutcome,
  OutboxRecord,
  ReplicaCommit,
  ReplicaRecord,
} from '../model/store.ts'
import { createIndexedDbDatabase, type DeviceRecord, type OpenDatabase } from './indexeddb-database.ts'
import { createMemoryStore } from './store-memory.ts'
import { clearedPosition, judgeCommit, mayReplace, type StoredEntry, toRecords } from './store-merge.ts'

/**
 * Creates a store that keeps everything in IndexedDB, shared by all tabs of the origin. `name` is
 * the database name; use different names to separate applications on one origin. When the browser
 * refuses or loses the database, the store continues in memory and its `storage` becomes `memory`.
 */
export function createIndexedDbStore(name = 'chorus', clock: Pick<Clock, 'after'> = systemClock): ChatStore {
  const { storage, run, write, forget, close } = createIndexedDbDatabase(name, clock)
  /**
   * Memory store that takes over when the database is lost. Until then it keeps a copy of the
   * pending messages.
   */
  const memory = createMemoryStore()
  return {
    storage,
    isShared: true,
    readAccount: () =>
      run(
        async (database) => (await database.get('account', 'account')) as AccountRecord | undefined,
        () => memory.readAccount(),
      ),
    writeAccount: async (account) => {
      await memory.writeAccount(account)
      if (account === undefined) await forget((database) => database.delete('account', 'account'))
      else await write((database) => database.put('account', account, 'account'))
    },
    readDevice: (fresh) =>
      run(
        (database) => readDevice(database, fresh),
        () => memory.readDevice?.(fresh) ?? Promise.resolve(fresh),
      ),
    readReplica: (userId) =>
      run(
        (database) => readReplica(database, userId),
        () => memory.readReplica(userId),
      ),
    readGeneration: (userId) =>
      run(
        async (database) => (await database.get('positions', userId))?.generation,
        () => memory.readGeneration(userId),
      ),
    commitReplica: (userId, commit) =>
      run(
        (database) => commitReplica(database, userId, commit),
        () => memory.commitReplica(userId, commit),
      ),
    readOutbox: (userId) =>
      run(
        async (database) => {
          const records = await database.getAll('outbox', rangeOf(userId))
          const gone = (await memory.readOutbox(userId)).map(({ clientId }) => clientId)
          await memory.removeOutbox(userId, gone)
          for (const record of records) await memory.putOutbox(userId, record)
          return records.sort((left, right) => left.order - right.order)
        },
        () => memory.readOutbox(userId),
      ),
    putOutbox: async (userId, record) => {
      await memory.putOutbox(userId, record)
      await write((database) => putOutbox(database, userId, record))
    },
    removeOutbox: async (userId, clientIds) => {
      await memory.removeOutbox(userId, clientIds)
      await write((database) => {
        const transaction = database.transaction('outbox', 'readwrite')
        return Promise.all([...clientIds.map((id) => transaction.store.delete([userId, id])), transaction.done])
      })
    },
    clear: async (userId, what) => {
      await memory.clear(userId, what)
      await forget((database) => clear(database, userId, what.outbox))
    },
    close: () => {
      close()
      return Promise.resolve()
    },
  }
}

/**
 * Returns the range of all keys of one user. Arrays sort after strings, so the upper bound is above
 * every `[userId, text]`.
 */
function rangeOf(userId: string): IDBKeyRange {
  return IDBKeyRange.bound([userId], [userId, []])
}

/** In one transaction, so that several tabs get one id. */
async function readDevice(database: OpenDatabase, fresh: string): Promise<string> {
  const { store, done } = database.transaction('account', 'readwrite')
  const held = (await store.get('device')) as DeviceRecord | undefined
  if (held === undefined) await store.put({ device: fresh }, 'device')
  await done
  return held?.device ?? fresh
}

async function readReplica(database: OpenDatabase, userId: string): Promise<ReplicaRecord | undefined> {
  const transaction = database.transaction(['positions', 'conversations'])
  const [position, entries] = await Promise.all([
    transaction.objectStore('positions').get(userId),
    transaction.objectStore('conversations').getAll(rangeOf(userId)),
    transaction.done,
  ])
  if (position === undefined || position.cursor === '') return undefined
  const { epoch, cursor, generation } = position
  return { epoch, cursor, generation, ...toRecords(entries) }
}

async function commitReplica(database: OpenDatabase, userId: string, commit: ReplicaCommit): Promise<CommitOutcome> {
  const transaction = database.transaction(['positions', 'conversations'], 'readwrite')
  const positions = transaction.objectStore('positions')
  const conversations = transaction.objectStore('conversations')
  const before = await positions.get(userId)
  const held = new Map<string, StoredEntry>()
  if (commit.replace === true) {
    for (const entry of await conversations.getAll(rangeOf(userId))) held.set(entry.id, entry)
  } else {
    await Promise.all(
      [...commit.conversations, ...commit.removed].map(async ({ id }) => {
        const entry = await conversations.get([userId, id])
        if (entry !== undefined) held.set(id, entry)
      }),
    )
  }
  const { position, isFresh, entries, outcome } = judgeCommit(userId, before, held, commit)
  const writes: Promise<unknown>[] = []
  if (position !== undefined) {
    if (isFresh) writes.push(conversations.delete(rangeOf(userId)))
    for (const [id, entry] of entries) writes.push(conversations.put(entry, [userId, id]))
    writes.push(positions.put(position, userId))
  }
  await Promise.all([...writes, transaction.done])
  return outcome
}

async function putOutbox(database: OpenDatabase, userId: string, record: OutboxRecord): Promise<void> {
  const transaction = database.transaction('outbox', 'readwrite')
  const key: [string, string] = [userId, record.clientId]
  const held = await transaction.store.get(key)
  if (mayReplace(held, record)) await transaction.store.put(record, key)
  await transaction.done
}

async function clear(database: OpenDatabase, userId: string, isWithOutbox: boolean): Promise<void> {
  const transaction = database.transaction(['positions', 'conversations', 'outbox'], 'readwrite')
  await Promise.all([
    transaction.objectStore('positions').put(clearedPosition(), userId),
    transaction.objectStore('conversations').delete(rangeOf(userId)),
    isWithOutbox ? transaction.objectStore('outbox').delete(rangeOf(userId)) : undefined,
    transaction.done,
  ])
}
