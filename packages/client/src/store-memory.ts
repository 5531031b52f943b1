/** The store that forgets everything when the process ends. */
import type {
  AccountRecord,
  ChatStore,
  ConversationRecord,
  OutboxRecord,
  ReplicaCommit,
  ReplicaRecord,
} from './store.ts'

/** What a store holds for one user, and the rules of a commit; the file store writes the same structure down. */
export interface UserData {
  replica: { epoch: string; cursor: string; conversations: Map<string, ConversationRecord> } | undefined
  readonly outbox: Map<string, OutboxRecord>
}

export function createUserData(): UserData {
  return { replica: undefined, outbox: new Map() }
}

/** Applies a commit; false when it was of another epoch and was dropped. */
export function applyCommit(data: UserData, commit: ReplicaCommit): boolean {
  if (commit.replace === true) {
    data.replica = { epoch: commit.epoch, cursor: commit.cursor ?? '', conversations: new Map() }
  }
  const { replica } = data
  if (replica === undefined || replica.epoch !== commit.epoch) return false
  for (const record of commit.conversations) {
    const stored = replica.conversations.get(record.id)
    if (stored === undefined || stored.appliedSeq <= record.appliedSeq) replica.conversations.set(record.id, record)
  }
  for (const id of commit.removed) replica.conversations.delete(id)
  if (commit.cursor !== undefined) replica.cursor = commit.cursor
  return true
}

export function toReplicaRecord({ replica }: UserData): ReplicaRecord | undefined {
  // Without a cursor the first load was not finished: what is there is a part, and may not be taken for the whole.
  if (replica === undefined || replica.cursor === '') return undefined
  return { epoch: replica.epoch, cursor: replica.cursor, conversations: [...replica.conversations.values()] }
}

export function toOutboxRecords(data: UserData): readonly OutboxRecord[] {
  return [...data.outbox.values()].sort((left, right) => left.order - right.order)
}

/** Keeps everything in memory: for tests, bots and servers that need no memory of their own. */
export function createMemoryStore(): ChatStore {
  let account: AccountRecord | undefined
  const users = new Map<string, UserData>()
  const dataOf = (userId: string): UserData => {
    const known = users.get(userId)
    if (known !== undefined) return known
    const fresh = createUserData()
    users.set(userId, fresh)
    return fresh
  }
  return {
    isShared: false,
    readAccount: () => Promise.resolve(account),
    writeAccount: (next) => {
      account = next
      return Promise.resolve()
    },
    readReplica: (userId) => Promise.resolve(toReplicaRecord(dataOf(userId))),
    commitReplica: (userId, commit) => {
      applyCommit(dataOf(userId), commit)
      return Promise.resolve()
    },
    readOutbox: (userId) => Promise.resolve(toOutboxRecords(dataOf(userId))),
    putOutbox: (userId, record) => {
      dataOf(userId).outbox.set(record.clientId, record)
      return Promise.resolve()
    },
    removeOutbox: (userId, clientIds) => {
      for (const clientId of clientIds) dataOf(userId).outbox.delete(clientId)
      return Promise.resolve()
    },
    clear: (userId, { outbox }) => {
      const data = dataOf(userId)
      data.replica = undefined
      if (outbox) data.outbox.clear()
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}
