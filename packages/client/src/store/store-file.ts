/**
 * Store for Node programs: keeps all data in one file.
 *
 * Guarantee: a crash leaves either the old or the new content, because each write goes to a second
 * file that is then renamed over the first. A call resolves after its data is on the disk. Calls
 * made during a write share the next write.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ChorusError } from '@chorus/protocol'
import type { AccountRecord, ChatStore, OutboxRecord } from '../model/store.ts'
import {
  applyCommit,
  clearUserData,
  createUserData,
  putOutbox,
  toOutboxRecords,
  toReplicaRecord,
  type UserData,
} from './store-memory.ts'
import type { StoredEntry } from './store-merge.ts'

const fileVersion = 1

interface FileContent {
  readonly version: number
  readonly account?: AccountRecord
  readonly device?: string
  readonly users: {
    readonly [userId: string]: {
      readonly replica?: {
        readonly epoch: string
        readonly cursor: string
        readonly generation?: string
        readonly conversations: readonly StoredEntry[]
      }
      readonly outbox: readonly OutboxRecord[]
    }
  }
}

interface State {
  account: AccountRecord | undefined
  device: string | undefined
  readonly users: Map<string, UserData>
}

/**
 * Creates a store that keeps everything in the file at `path`, for use by one process at a time.
 * Creates missing folders. Only the file's owner can read it, because it holds the session cookie.
 * Calls reject with a `ChorusError`: `unavailable` when the file cannot be read, `invalid` when it
 * is not a store of this version.
 */
export function createFileStore(path: string): ChatStore {
  let loading: Promise<State> | undefined
  let running: Promise<void> = Promise.resolve()
  let queued: Promise<void> | undefined

  const load = (): Promise<State> => {
    loading ??= readState(path)
    return loading
  }
  const dataOf = (state: State, userId: string): UserData => {
    const known = state.users.get(userId)
    if (known !== undefined) return known
    const fresh = createUserData()
    state.users.set(userId, fresh)
    return fresh
  }
  const save = (state: State): Promise<void> => {
    queued ??= running
      .catch(() => undefined)
      .then(() => {
        queued = undefined
        running = writeState(path, state)
        return running
      })
    return queued
  }

  return {
    isShared: false,
    readAccount: async () => (await load()).account,
    writeAccount: async (account) => {
      const state = await load()
      state.account = account
      await save(state)
    },
    readDevice: async (fresh) => {
      const state = await load()
      if (state.device !== undefined) return state.device
      state.device = fresh
      await save(state)
      return fresh
    },
    readReplica: async (userId) => toReplicaRecord(dataOf(await load(), userId)),
    readGeneration: async (userId) => dataOf(await load(), userId).position?.generation,
    commitReplica: async (userId, commit) => {
      const state = await load()
      const outcome = applyCommit(userId, dataOf(state, userId), commit)
      if (outcome.kind === 'stored') await save(state)
      return outcome
    },
    readOutbox: async (userId) => toOutboxRecords(dataOf(await load(), userId)),
    putOutbox: async (userId, record) => {
      const state = await load()
      putOutbox(dataOf(state, userId), record)
      await save(state)
    },
    removeOutbox: async (userId, clientIds) => {
      const state = await load()
      for (const clientId of clientIds) dataOf(state, userId).outbox.delete(clientId)
      await save(state)
    },
    clear: async (userId, what) => {
      const state = await load()
      clearUserData(dataOf(state, userId), what)
      await save(state)
    },
    close: async () => {
      await queued
      await running
    },
  }
}

async function readState(path: string): Promise<State> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { account: undefined, device: undefined, users: new Map() }
    throw new ChorusError('unavailable', `unable to read ${path}; the file cannot be opened`, { cause: error })
  }
  try {
    const content = JSON.parse(text) as FileContent
    if (content.version !== fileVersion) throw new Error(`version ${content.version}`)
    const users = Object.entries(content.users).map(([userId, { replica, outbox }]): [string, UserData] => {
      const { conversations = [], ...position } = replica ?? {}
      return [
        userId,
        {
          position: replica && (position as UserData['position']),
          entries: new Map(conversations.map((one) => [one.id, one])),
          outbox: new Map(outbox.map((record) => [record.clientId, record])),
        },
      ]
    })
    return { account: content.account, device: content.device, users: new Map(users) }
  } catch (error) {
    // The damaged file is never overwritten: it may hold messages that were not sent.
    throw new ChorusError('invalid', `unable to read ${path}; it is not a store of this version`, { cause: error })
  }
}

async function writeState(path: string, state: State): Promise<void> {
  const users = [...state.users].map(([userId, { position, entries, outbox }]) => [
    userId,
    {
      ...(position && { replica: { ...position, conversations: [...entries.values()] } }),
      outbox: [...outbox.values()],
    },
  ])
  const content: FileContent = {
    version: fileVersion,
    ...(state.account && { account: state.account }),
    ...(state.device !== undefined && { device: state.device }),
    users: Object.fromEntries(users) as FileContent['users'],
  }
  await mkdir(dirname(path), { recursive: true })
  const beside = `${path}.new`
  const file = await open(beside, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(content))
    await file.datasync()
  } finally {
    await file.close()
  }
  await rename(beside, path)
}
