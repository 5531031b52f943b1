/**
 * The store of browsers: one database for all tabs of an origin. Every commit is one transaction, so a cursor is never
 * there without what it covers; a tab that is behind cannot put an older copy over a newer one.
 */
import type { DBSchema, IDBPDatabase } from 'idb'
import { openDB } from 'idb'
import type { AccountRecord, ChatStore, ConversationRecord, OutboxRecord } from './store.ts'

interface Schema extends DBSchema {
  /** Under the one key `account`. */
  account: { key: string; value: AccountRecord }
  /** By user. */
  positions: { key: string; value: { readonly epoch: string; readonly cursor: string } }
  /** By user and id. */
  conversations: { key: [string, string]; value: ConversationRecord }
  /** By user and clientId. */
  outbox: { key: [string, string]; value: OutboxRecord }
}

const version = 1

/** All keys of one user: arrays sort after strings, so this bounds every `[userId, text]`. */
function rangeOf(userId: string): IDBKeyRange {
  return IDBKeyRange.bound([userId], [userId, []])
}

/** Keeps everything in IndexedDB, shared by all tabs. `name` separates applications on one origin. */
export function createIndexedDbStore(name = 'chorus'): ChatStore {
  let opening: Promise<IDBPDatabase<Schema>> | undefined
  const open = (): Promise<IDBPDatabase<Schema>> => {
    opening ??= openDB<Schema>(name, version, {
      upgrade: (database) => {
        database.createObjectStore('account')
        database.createObjectStore('positions')
        database.createObjectStore('conversations')
        database.createObjectStore('outbox')
      },
      // A newer version of the application in another tab wants to upgrade: give way and open again when asked.
      blocking: (_current, _blocked, event) => {
        opening = undefined
        ;(event.target as IDBDatabase).close()
      },
      terminated: () => {
        opening = undefined
      },
    }).catch((error: unknown) => {
      opening = undefined
      throw error
    })
    return opening
  }

  return {
    isShared: true,
    readAccount: async () => (await open()).get('account', 'account'),
    writeAccount: async (account) => {
      const database = await open()
      if (account === undefined) await database.delete('account', 'account')
      else await database.put('account', account, 'account')
    },
    readReplica: async (userId) => {
      const database = await open()
      const transaction = database.transaction(['positions', 'conversations'])
      const [position, conversations] = await Promise.all([
        transaction.objectStore('positions').get(userId),
        transaction.objectStore('conversations').getAll(rangeOf(userId)),
        transaction.done,
      ])
      if (position === undefined || position.cursor === '') return undefined
      return { epoch: position.epoch, cursor: position.cursor, conversations }
    },
    commitReplica: async (userId, commit) => {
      const database = await open()
      const transaction = database.transaction(['positions', 'conversations'], 'readwrite')
      const positions = transaction.objectStore('positions')
      const conversations = transaction.objectStore('conversations')
      const before = await positions.get(userId)
      if (commit.replace === true) await conversations.delete(rangeOf(userId))
      else if (before?.epoch !== commit.epoch) {
        await transaction.done
        return
      }
      const writes: Promise<unknown>[] = []
      for (const record of commit.conversations) {
        const key: [string, string] = [userId, record.id]
        const write = async (): Promise<void> => {
          const stored = await conversations.get(key)
          if (stored === undefined || stored.appliedSeq <= record.appliedSeq) await conversations.put(record, key)
        }
        writes.push(write())
      }
      for (const id of commit.removed) writes.push(conversations.delete([userId, id]))
      const cursor = commit.cursor ?? (commit.replace === true ? '' : (before?.cursor ?? ''))
      writes.push(positions.put({ epoch: commit.epoch, cursor }, userId))
      await Promise.all([...writes, transaction.done])
    },
    readOutbox: async (userId) => {
      const records = await (await open()).getAll('outbox', rangeOf(userId))
      return records.sort((left, right) => left.order - right.order)
    },
    putOutbox: async (userId, record) => {
      await (await open()).put('outbox', record, [userId, record.clientId])
    },
    removeOutbox: async (userId, clientIds) => {
      const transaction = (await open()).transaction('outbox', 'readwrite')
      await Promise.all([...clientIds.map((id) => transaction.store.delete([userId, id])), transaction.done])
    },
    clear: async (userId, { outbox }) => {
      const transaction = (await open()).transaction(['positions', 'conversations', 'outbox'], 'readwrite')
      await Promise.all([
        transaction.objectStore('positions').delete(userId),
        transaction.objectStore('conversations').delete(rangeOf(userId)),
        outbox ? transaction.objectStore('outbox').delete(rangeOf(userId)) : undefined,
        transaction.done,
      ])
    },
    close: async () => {
      const database = await opening
      opening = undefined
      database?.close()
    },
  }
}
