/**
 * Store for browsers: one IndexedDB database for all tabs of an origin. Each commit is one
 * transaction, so a cursor is never stored without the data that it covers. A tab that is behind
 * cannot replace newer data by older data (`store-merge.ts`).
 *
 * Guarantee: every call ends. Browsers refuse IndexedDB (in private windows), close it without an
 * event, and sometimes never answer. A call that fails or times out is retried once on a reopened
 * database. After that the store continues in memory, sets `storage` to `memory`, and keeps the
 * pending messages it knows.
 */
import type { DBSchema, IDBPDatabase } from 'idb'
import { openDB } from 'idb'
import { type Clock, systemClock } from '../support/clock.ts'
import { createCell } from '../support/observable.ts'
import type { AccountRecord, ChatStore, OutboxRecord, StorageState } from '../model/store.ts'
import { createMemoryStore } from './store-memory.ts'
import {
  clearedPosition,
  judgeCommit,
  mayReplace,
  type StoredEntry,
  type StoredPosition,
  toRecords,
} from './store-merge.ts'

interface Schema extends DBSchema {
  /** The signed-in account, under the single key `account`. */
  account: { key: string; value: AccountRecord }
  /** Positions by user id. */
  positions: { key: string; value: StoredPosition }
  /** Conversations by user id and conversation id. */
  conversations: { key: [string, string]; value: StoredEntry }
  /** Pending messages by user id and clientId. */
  outbox: { key: [string, string]; value: OutboxRecord }
}

type Opened = IDBPDatabase<Schema>

const version = 1
/** Maximum time for opening the database (`openMaxMs`) and for one call (`callMaxMs`). */
export const openMaxMs = 3_000
export const callMaxMs = 8_000

/**
 * Returns the range of all keys of one user. Arrays sort after strings, so the upper bound is above
 * every `[userId, text]`.
 */
function rangeOf(userId: string): IDBKeyRange {
  return IDBKeyRange.bound([userId], [userId, []])
}

/**
 * Creates a store that keeps everything in IndexedDB, shared by all tabs of the origin. `name` is
 * the database name; use different names to separate applications on one origin. When the browser
 * refuses or loses the database, the store continues in memory and its `storage` becomes `memory`.
 */
export function createIndexedDbStore(name = 'chorus', clock: Pick<Clock, 'after'> = systemClock): ChatStore {
  const storage = createCell<StorageState>('persistent')
  /**
   * Memory store that takes over when the database is lost. Until then it mirrors the pending
   * messages.
   */
  const memory = createMemoryStore()
  let opening: Promise<Opened> | undefined

  const bounded = <Result>(work: Promise<Result>, maxMs: number): Promise<Result> =>
    new Promise((resolve, reject) => {
      const cancel = clock.after(maxMs, () => reject(new Error(`no response within ${maxMs} ms`)))
      void work.then(resolve, reject).finally(cancel)
    })
  const letGo = (): void => {
    opening?.then(
      (database) => database.close(),
      () => undefined,
    )
    opening = undefined
  }
  // Asynchronous, so that a missing `indexedDB` becomes a rejection and not an exception.
  const openNow = async (): Promise<Opened> =>
    openDB<Schema>(name, version, {
      upgrade: (database) => {
        database.createObjectStore('account')
        database.createObjectStore('positions')
        database.createObjectStore('conversations')
        database.createObjectStore('outbox')
      },
      // Another tab runs a newer version of the application and wants to upgrade: close the
      // database.
      blocking: letGo,
      terminated: letGo,
    })
  const attempt = async <Result>(work: (database: Opened) => Promise<Result>): Promise<Result> => {
    opening ??= openNow()
    return bounded(work(await bounded(opening, openMaxMs)), callMaxMs)
  }
  const run = async <Result>(
    work: (database: Opened) => Promise<Result>,
    inMemory: () => Promise<Result>,
  ): Promise<Result> => {
    for (let tries = 0; tries < 2 && storage.get() === 'persistent'; tries += 1) {
      try {
        return await attempt(work)
      } catch (error) {
        // A value that cannot be stored does not mean that the database is broken.
        if (error instanceof Error && error.name === 'DataCloneError') throw error
        letGo()
      }
    }
    storage.set('memory')
    return inMemory()
  }
  /**
   * Deletes data. After the database was lost, a deletion is still tried there, without waiting for
   * it: a later session must not find the old data.
   */
  const forget = async (work: (database: Opened) => Promise<unknown>): Promise<void> => {
    const isLost = storage.get() === 'memory'
    if (isLost) attempt(work).then(letGo, letGo)
    else await run(work, () => Promise.resolve())
  }

  return {
    storage,
    isShared: true,
    readAccount: () =>
      run(
        (database) => database.get('account', 'account'),
        () => memory.readAccount(),
      ),
    writeAccount: async (account) => {
      await memory.writeAccount(account)
      if (account === undefined) await forget((database) => database.delete('account', 'account'))
      else
        await run(
          async (database) => void (await database.put('account', account, 'account')),
          () => Promise.resolve(),
        )
    },
    readReplica: (userId) =>
      run(
        async (database) => {
          const transaction = database.transaction(['positions', 'conversations'])
          const [position, entries] = await Promise.all([
            transaction.objectStore('positions').get(userId),
            transaction.objectStore('conversations').getAll(rangeOf(userId)),
            transaction.done,
          ])
          if (position === undefined || position.cursor === '') return undefined
          const { epoch, cursor, generation } = position
          return { epoch, cursor, generation, ...toRecords(entries) }
        },
        () => memory.readReplica(userId),
      ),
    readGeneration: (userId) =>
      run(
        async (database) => (await database.get('positions', userId))?.generation,
        () => memory.readGeneration(userId),
      ),
    commitReplica: (userId, commit) =>
      run(
        async (database) => {
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
        },
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
      await run(
        async (database) => {
          const transaction = database.transaction('outbox', 'readwrite')
          const key: [string, string] = [userId, record.clientId]
          const held = await transaction.store.get(key)
          if (mayReplace(held, record)) await transaction.store.put(record, key)
          await transaction.done
        },
        () => Promise.resolve(),
      )
    },
    removeOutbox: async (userId, clientIds) => {
      await memory.removeOutbox(userId, clientIds)
      await run(
        async (database) => {
          const transaction = database.transaction('outbox', 'readwrite')
          await Promise.all([...clientIds.map((id) => transaction.store.delete([userId, id])), transaction.done])
        },
        () => Promise.resolve(),
      )
    },
    clear: async (userId, what) => {
      await memory.clear(userId, what)
      await forget(async (database) => {
        const transaction = database.transaction(['positions', 'conversations', 'outbox'], 'readwrite')
        await Promise.all([
          transaction.objectStore('positions').put(clearedPosition(), userId),
          transaction.objectStore('conversations').delete(rangeOf(userId)),
          what.outbox ? transaction.objectStore('outbox').delete(rangeOf(userId)) : undefined,
          transaction.done,
        ])
      })
    },
    close: () => {
      letGo()
      return Promise.resolve()
    },
  }
}
