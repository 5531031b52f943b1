/**
 * Opens the IndexedDB database of the store and runs calls on it.
 *
 * Guarantee: every call ends. Browsers refuse IndexedDB (in private windows), close it without an
 * event, and sometimes never answer. A call that fails or times out is retried once on a reopened
 * database. After that the database counts as lost, and `storage` becomes `memory`.
 */
import type { DBSchema, IDBPDatabase } from 'idb'
import { openDB } from 'idb'
import type { AccountRecord, OutboxRecord, StorageState } from '../model/store.ts'
import type { Clock } from '../support/clock.ts'
import { createCell, type Observable } from '../support/observable.ts'
import type { StoredEntry, StoredPosition } from './store-merge.ts'

interface Schema extends DBSchema {
  /** The signed-in account under the key `account`, and the id of the device under `device`. */
  account: { key: string; value: AccountRecord | DeviceRecord }
  /** Epoch, cursor and generation of the stored data, by user id. */
  positions: { key: string; value: StoredPosition }
  /** Conversations by user id and conversation id. */
  conversations: { key: [string, string]; value: StoredEntry }
  /** Pending messages by user id and clientId. */
  outbox: { key: [string, string]; value: OutboxRecord }
}

/** Id of this device. */
export interface DeviceRecord {
  readonly device: string
}

export type OpenDatabase = IDBPDatabase<Schema>

const version = 1
/** Maximum time for opening the database (`openMaxMs`) and for one call (`callMaxMs`). */
export const openMaxMs = 3_000
export const callMaxMs = 8_000

export interface IndexedDbDatabase {
  readonly storage: Observable<StorageState>
  /** Runs `work` on the database. Runs `inMemory` instead once the database is lost. */
  readonly run: <Result>(
    work: (database: OpenDatabase) => Promise<Result>,
    inMemory: () => Promise<Result>,
  ) => Promise<Result>
  /** Runs a write on the database. Does nothing once the database is lost. */
  readonly write: (work: (database: OpenDatabase) => Promise<unknown>) => Promise<void>
  /**
   * Deletes data. Once the database is lost, still tries the deletion in the background, so that a
   * later session does not find the old data.
   */
  readonly forget: (work: (database: OpenDatabase) => Promise<unknown>) => Promise<void>
  readonly close: () => void
}

export function createIndexedDbDatabase(name: string, clock: Pick<Clock, 'after'>): IndexedDbDatabase {
  const storage = createCell<StorageState>('persistent')
  let opening: Promise<OpenDatabase> | undefined

  const bounded = <Result>(work: Promise<Result>, maxMs: number): Promise<Result> =>
    new Promise((resolve, reject) => {
      const cancel = clock.after(maxMs, () => reject(new Error(`no response within ${maxMs} ms`)))
      void work.then(resolve, reject).finally(cancel)
    })
  const close = (): void => {
    opening?.then(
      (database) => database.close(),
      () => undefined,
    )
    opening = undefined
  }
  // This function is asynchronous, so that it rejects instead of throwing when `indexedDB` is
  // missing.
  const open = async (): Promise<OpenDatabase> =>
    openDB<Schema>(name, version, {
      upgrade: (database) => {
        database.createObjectStore('account')
        database.createObjectStore('positions')
        database.createObjectStore('conversations')
        database.createObjectStore('outbox')
      },
      // Another tab runs a newer version of the application and wants to upgrade: close the
      // database.
      blocking: close,
      terminated: close,
    })
  const attempt = async <Result>(work: (database: OpenDatabase) => Promise<Result>): Promise<Result> => {
    opening ??= open()
    return bounded(work(await bounded(opening, openMaxMs)), callMaxMs)
  }
  const run: IndexedDbDatabase['run'] = async (work, inMemory) => {
    for (let tries = 0; tries < 2 && storage.get() === 'persistent'; tries += 1) {
      try {
        return await attempt(work)
      } catch (error) {
        // The value cannot be stored, but the database works. Pass the error on instead of
        // reopening the database.
        if (error instanceof Error && error.name === 'DataCloneError') throw error
        close()
      }
    }
    storage.set('memory')
    return inMemory()
  }
  const write: IndexedDbDatabase['write'] = async (work) => {
    await run(work, () => Promise.resolve<unknown>(undefined))
  }
  return {
    storage,
    run,
    write,
    forget: async (work) => {
      if (storage.get() === 'memory') attempt(work).then(close, close)
      else await write(work)
    },
    close,
  }
}
