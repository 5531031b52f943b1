/**
 * Tests of several clients that share one store, with random actions and commits in random order.
 * At every point, a new client that starts from the store and resumes from its cursor must match
 * the server: no missing changes, no conversation that the user left, correct unread counts.
 */
import 'fake-indexeddb/auto'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CommandName, CommandRequest, CommandResult, User } from '@chorus/protocol'
import { ChorusError } from '@chorus/protocol'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HttpApi } from './wire/http-api.ts'
import { Replica, type ReplicaEvent } from './replica/replica.ts'
import type { ChatStore } from './model/store.ts'
import { createFileStore } from './store/store-file.ts'
import { createIndexedDbStore } from './store/store-indexeddb.ts'
import { createMemoryStore } from './store/store-memory.ts'
import { FakeServer, type FakeConversation } from './testing/fake-server.ts'
import { ManualClock, settle } from './testing/manual-clock.ts'
import { UserCache } from './users/users.ts'

/** Returns an API that answers from the fake server without a network. */
function createApi(server: FakeServer, me: User): HttpApi {
  const answer = (name: CommandName, request: Readonly<Record<string, unknown>>): unknown => {
    const conversation = server.conversations.get(String(request['conversation']))
    const isMember = conversation?.members.has(me.id) === true
    switch (name) {
      case 'sync':
        return server.sync(me.id, request['cursor'] as string | undefined)
      case 'list-conversations':
        return {
          conversations: [...server.conversations.values()]
            .filter(({ members }) => members.has(me.id))
            .map((one) => server.toConversation(one, me.id)),
        }
      case 'get-conversation':
        if (conversation === undefined || !isMember) break
        return { conversation: server.toConversation(conversation, me.id) }
      case 'list-changes': {
        if (conversation === undefined || !isMember) break
        const changes = conversation.changes.map(({ change }) => change)
        return { changes: changes.filter(({ seq }) => seq > Number(request['after'])), seq: server.top(conversation) }
      }
      case 'find-users':
        return { users: [...server.users.values()] }
      default:
        break
    }
    throw new ChorusError('not-found', `unable to ${name}; there is no such thing`)
  }
  return {
    call: <Name extends CommandName>(name: Name, request: CommandRequest<Name>) =>
      Promise.resolve().then(() => structuredClone(answer(name, request as never)) as CommandResult<Name>),
  }
}

/** A store whose commits wait until the test releases them, in order. */
class Gate {
  readonly waiting: (() => void)[] = []
  isOpen = false

  wrap(store: ChatStore): ChatStore {
    return {
      ...store,
      commitReplica: async (userId, commit) => {
        if (!this.isOpen) await new Promise<void>((resolve) => this.waiting.push(resolve))
        return store.commitReplica(userId, commit)
      },
    }
  }

  open(): void {
    this.isOpen = true
    for (const release of this.waiting.splice(0)) release()
  }
}

class Tab {
  readonly gate = new Gate()
  readonly replica: Replica
  readonly #server: FakeServer
  readonly #me: User
  /**
   * Changes that the client neither passed to `onChange` nor covered by a call of `onLimited`. Must
   * stay empty.
   */
  readonly holes: string[] = []
  /**
   * Highest seq that the callbacks were given, by epoch and conversation. `onChange` moves it by
   * one change, `onLimited` by many.
   */
  readonly reached = new Map<string, number>()
  #cursor: string | undefined
  #loads = 0
  loading: Promise<void> = Promise.resolve()

  constructor(server: FakeServer, me: User, store: ChatStore, clock: ManualClock) {
    this.#server = server
    this.#me = me
    const api = createApi(server, me)
    this.replica = new Replica({
      me: me.id,
      store: this.gate.wrap(store),
      api,
      clock,
      users: new UserCache(api, clock),
      onError: (error) => {
        throw error
      },
      onChange: ({ epoch, conversation, change }) => {
        const key = `${epoch} ${conversation}`
        const reached = this.reached.get(key)
        // A user who was removed while offline receives only the removal, not the changes before
        // it.
        const isOwnRemoval = change.type === 'member.left' && change.user === me.id
        if (!isOwnRemoval && reached !== undefined && change.seq !== reached + 1)
          this.holes.push(`${key}: ${change.seq} after ${reached}`)
        this.reached.set(key, change.type === 'skip' ? change.to : change.seq)
      },
      onLimited: ({ conversation, seq }) => void this.reached.set(`${server.epoch} ${conversation}`, seq),
      onMoved: () => undefined,
      onReset: () => undefined,
    })
  }

  async start(): Promise<void> {
    await this.replica.loadCached()
    this.#cursor = this.replica.cursor
    if (this.replica.needsLoad) this.load()
  }

  /** Starts a first load. Its commit to the store waits until the test releases it. */
  load(): void {
    this.#cursor = undefined
    this.#loads += 1
    this.loading = this.replica.firstLoad().finally(() => {
      this.#loads -= 1
    })
  }

  /** Connects or stays connected, and applies all changes since the last call. */
  async advance(): Promise<void> {
    await settle()
    // No connection is opened before the load is complete.
    if (this.#loads > 0) return
    this.#cursor ??= this.replica.cursor
    if (this.#cursor === undefined) return
    const page = this.#server.sync(this.#me.id, this.#cursor)
    if (page.reset === true) {
      this.load()
      return
    }
    const tell = (event: unknown): void => this.replica.handle(structuredClone(event) as ReplicaEvent)
    for (const { changes, ...entry } of page.conversations) {
      if ('limited' in entry || 'left' in entry) tell({ name: 'conversation', payload: entry })
      if (changes.length > 0) tell({ name: 'changes', payload: { conversation: entry.conversation, changes } })
      tell({ name: 'conversation', payload: entry })
    }
    this.#cursor = page.cursor
    const user = this.#server.users.get(this.#me.id)
    tell({ name: 'ready', payload: { user, session: {}, epoch: page.epoch, cursor: page.cursor } })
    await settle()
  }
}

const act = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const), at: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const), at: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('remove' as const, 'join' as const), at: fc.nat(2) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('advance' as const), at: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('commit' as const), at: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('load' as const, 'reload' as const), at: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), at: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('epoch' as const, 'sign-out' as const), at: fc.nat(1) }) },
)

/**
 * Asserts that a new client which starts from the store and catches up has the same data as the
 * server.
 */
async function assertStore(server: FakeServer, me: User, store: ChatStore): Promise<void> {
  const record = await store.readReplica(me.id)
  if (record === undefined || record.epoch !== server.epoch) return
  const clock = new ManualClock()
  const fresh = createMemoryStore()
  await fresh.commitReplica(me.id, { ...record, base: undefined, replace: true })
  const started = new Tab(server, me, fresh, clock)
  started.gate.open()
  await started.start()
  await started.advance()
  for (let rounds = 0; rounds < 5; rounds += 1) await clock.advance(1_000)
  const mine = [...server.conversations.values()].filter(({ members }) => members.has(me.id))
  const shown = started.replica.conversations.get()
  expect(shown.map(({ id }) => id).sort()).toEqual(mine.map(({ id }) => id).sort())
  for (const one of mine) {
    const truth = server.toConversation(one, me.id)
    const summary = shown.find(({ id }) => id === one.id)
    expect(summary).toMatchObject({ seq: truth.seq, readSeq: truth.readSeq, unread: truth.unread })
    expect(started.replica.appliedSeqOf(one.id)).toBe(truth.seq)
    const texts = started.replica.slot(one.id).timeline.window?.entries.map(({ message }) => message.text)
    if (texts !== undefined) expect(texts).toEqual(server.texts(one).slice(-texts.length))
  }
}

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chorus-shared-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe.each([
  { name: 'memory', storage: 'memory', runs: 200, make: () => createMemoryStore() },
  { name: 'IndexedDB', storage: 'persistent', runs: 40, make: () => createIndexedDbStore(randomUUID()) },
  { name: 'file', storage: undefined, runs: 20, make: () => createFileStore(join(folder, randomUUID())) },
])('two clients on one store, $name', ({ runs, make, storage }) => {
  it('[CP1] [CLI1] the store never has a cursor without the data it covers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 40 }), async (acts) => {
        const server = new FakeServer()
        const me = server.addUser('me')
        const ada = server.addUser('ada')
        const conversations = ['A', 'B', 'C'].map((name) => server.addConversation('group', name, [ada, me]))
        const store = make()
        const clock = new ManualClock()
        const open = async (): Promise<Tab> => {
          const tab = new Tab(server, me, store, clock)
          await tab.start()
          return tab
        }
        const tabs = [await open(), await open()]
        for (const { do: what, at } of acts) {
          const conversation = conversations[at] as FakeConversation
          const tab = tabs[at] ?? tabs[0]!
          const isIn = conversation.members.has(me.id)
          switch (what) {
            case 'send':
              server.send(conversation, ada, `m${server.top(conversation)}`)
              break
            case 'read':
              if (isIn) server.markRead(conversation, me.id, server.top(conversation))
              break
            case 'remove':
              if (isIn) server.remove(conversation, me)
              break
            case 'join':
              if (!isIn) server.join(conversation, me)
              break
            case 'advance':
              await tab.advance()
              break
            case 'commit':
              tab.gate.waiting.shift()?.()
              break
            case 'load':
              tab.load()
              break
            case 'reload':
              tab.replica.stop()
              tab.gate.waiting.length = 0
              tabs[at] = await open()
              break
            case 'wait':
              await clock.advance(200)
              break
            case 'epoch':
              server.epoch = `epoch${server.epoch.length}${'x'.repeat(server.epoch.length)}`
              break
            case 'sign-out':
              tab.replica.stop()
              tab.gate.waiting.length = 0
              await store.clear(me.id, { outbox: true })
              tabs[at] = await open()
              break
          }
          await settle()
          await assertStore(server, me, store)
          for (const { holes } of tabs) expect(holes).toEqual([])
        }
        for (const tab of tabs) {
          tab.gate.open()
          await tab.advance()
          await clock.advance(2_000)
          await tab.loading
          await tab.advance()
          await clock.advance(2_000)
        }
        for (const { holes } of tabs) expect(holes).toEqual([])
        await assertStore(server, me, store)
        expect(store.storage?.get()).toBe(storage)
        await store.close()
      }),
      { numRuns: runs, endOnFailure: false },
    )
  }, 120_000)
})

it('[CLI1] `onLimited` is called for missed changes that only another tab received', async () => {
  const server = new FakeServer()
  const me = server.addUser('me')
  const ada = server.addUser('ada')
  const conversation = server.addConversation('group', 'A', [ada, me])
  const store = createMemoryStore()
  const clock = new ManualClock()
  const one = new Tab(server, me, store, clock)
  const two = new Tab(server, me, store, clock)
  two.gate.open()
  one.gate.open()
  for (const tab of [one, two]) {
    await tab.start()
    await tab.advance()
  }
  server.send(conversation, ada, 'before')
  server.remove(conversation, me)
  await one.advance()
  await clock.advance(2_000)

  one.gate.isOpen = false
  one.load()
  await settle()
  server.join(conversation, me)
  await two.advance()
  server.send(conversation, ada, 'after')
  await two.advance()
  await clock.advance(2_000)
  one.gate.open()
  await one.loading

  expect(one.replica.appliedSeqOf(conversation.id)).toBe(server.top(conversation))
  expect(one.reached.get(`${server.epoch} ${conversation.id}`)).toBe(server.top(conversation))
})
