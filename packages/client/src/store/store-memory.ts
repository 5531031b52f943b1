/** Store in memory. It loses its data when the process ends. */
import { createCell } from '../support/observable.ts'
import type {
  AccountRecord,
  ChatStore,
  CommitOutcome,
  OutboxRecord,
  ReplicaCommit,
  ReplicaRecord,
  StorageState,
} from '../model/store.ts'
import {
  clearedPosition,
  judgeCommit,
  mayReplace,
  type StoredEntry,
  type StoredPosition,
  toRecords,
} from './store-merge.ts'

/** Data of one user. The file store writes the same structure to disk. */
export interface UserData {
  position: StoredPosition | undefined
  entries: Map<string, StoredEntry>
  readonly outbox: Map<string, OutboxRecord>
}

export function createUserData(): UserData {
  return { position: undefined, entries: new Map(), outbox: new Map() }
}

export function applyCommit(userId: string, data: UserData, commit: ReplicaCommit): CommitOutcome {
  const { position, isFresh, entries, outcome } = judgeCommit(userId, data.position, data.entries, commit)
  if (position !== undefined) {
    data.position = position
    if (isFresh) data.entries = new Map()
    for (const [id, entry] of entries) data.entries.set(id, entry)
  }
  return outcome
}

export function putOutbox(data: UserData, record: OutboxRecord): void {
  if (mayReplace(data.outbox.get(record.clientId), record)) data.outbox.set(record.clientId, record)
}

export function clearUserData(data: UserData, { outbox }: { readonly outbox: boolean }): void {
  data.position = clearedPosition()
  data.entries = new Map()
  if (outbox) data.outbox.clear()
}

export function toReplicaRecord({ position, entries }: UserData): ReplicaRecord | undefined {
  // Without a cursor, no first load has finished. The data is incomplete and must not be used.
  if (position === undefined || position.cursor === '') return undefined
  const { epoch, cursor, generation } = position
  return { epoch, cursor, generation, ...toRecords(entries.values()) }
}

export function toOutboxRecords(data: UserData): readonly OutboxRecord[] {
  return [...data.outbox.values()].sort((left, right) => left.order - right.order)
}

/**
 * Creates a store that keeps everything in memory, for tests, bots and server-side programs. Data
 * is lost when the process ends or the page is left.
 */
export function createMemoryStore(): ChatStore {
  let account: AccountRecord | undefined
  let device: string | undefined
  const users = new Map<string, UserData>()
  const dataOf = (userId: string): UserData => {
    const known = users.get(userId)
    if (known !== undefined) return known
    const fresh = createUserData()
    users.set(userId, fresh)
    return fresh
  }
  return {
    storage: createCell<StorageState>('memory'),
    isShared: false,
    readAccount: () => Promise.resolve(account),
    writeAccount: (next) => {
      account = next
      return Promise.resolve()
    },
    readDevice: (fresh) => {
      device ??= fresh
      return Promise.resolve(device)
    },
    readReplica: (userId) => Promise.resolve(toReplicaRecord(dataOf(userId))),
    readGeneration: (userId) => Promise.resolve(dataOf(userId).position?.generation),
    commitReplica: (userId, commit) => Promise.resolve(applyCommit(userId, dataOf(userId), commit)),
    readOutbox: (userId) => Promise.resolve(toOutboxRecords(dataOf(userId))),
    putOutbox: (userId, record) => {
      putOutbox(dataOf(userId), record)
      return Promise.resolve()
    },
    removeOutbox: (userId, clientIds) => {
      for (const clientId of clientIds) dataOf(userId).outbox.delete(clientId)
      return Promise.resolve()
    },
    clear: (userId, what) => {
      clearUserData(dataOf(userId), what)
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}
