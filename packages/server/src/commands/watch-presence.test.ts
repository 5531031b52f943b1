/** Who may see whose presence, while people leave and lists change at the same time. */
import type { Id } from '@chorus/protocol'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Connection } from '../fanout/connection.ts'
import { LocalBusHub } from '../fanout/bus-local.ts'
import type { Database } from '../store/database.ts'
import { LogFixture } from '../store/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase } from '../store/testing/open-test-database.ts'
import { recheckWatches } from './recheck-watches.ts'
import { type Opened, TestNode } from './testing/test-node.ts'

describe('watching while people leave', () => {
  let store: TestDatabase
  let fixture: LogFixture
  let node: TestNode
  let ada: Id
  let bob: Id
  let cleo: Id
  let group: Id

  beforeAll(async () => {
    store = await openTestDatabase('embedded')
    fixture = new LogFixture(store.database)
  })
  beforeEach(async () => {
    ;[ada, bob, cleo] = (await fixture.users(3)) as [Id, Id, Id]
    group = await fixture.group([ada, bob])
    await fixture.group([ada, cleo])
    node = await TestNode.start(store.database, new LocalBusHub())
  })
  afterEach(() => node.stop())
  afterAll(() => store.close())

  const open = async (user: Id): Promise<Opened> => {
    const opened = node.open(user, await fixture.session(user))
    await opened.opening
    return opened
  }
  const connect = async (user: Id): Promise<Connection> => (await open(user)).connection
  const toldTo = ({ transport }: Opened): unknown[] =>
    transport.frames.filter(({ event }) => event === 'presence').flatMap(({ json }) => JSON.parse(json) as unknown[])
  const remove = (): Promise<unknown> => node.run('remove-member', ada, { conversation: group, user: bob })
  const looks = (): number => node.statements.filter((name) => name === 'read_shared_pairs').length
  /** Runs before or after the answer of a statement of this name, once. */
  const intercept = (name: string, act: (answer: () => Promise<unknown>) => Promise<unknown>): void => {
    const real = node.parts.database
    let isDone = false
    const database = new Proxy(real, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown
        if (key !== 'query') return value
        return (statement: Parameters<Database['query']>[0]) => {
          if (isDone || statement.name !== name) return target.query(statement)
          isDone = true
          return act(() => target.query(statement))
        }
      },
    })
    Object.assign(node.parts, { database })
  }

  it('[PRES2] one look for everybody who watches, and presence ends with the last shared conversation', async () => {
    const watchers = await Promise.all(Array.from({ length: 20 }, () => connect(ada)))
    const bobs = await connect(bob)
    for (const watcher of watchers) await node.run('watch-presence', ada, { users: [bob, cleo] }, watcher)
    await node.run('watch-presence', bob, { users: [ada] }, bobs)
    await remove()
    await vi.waitFor(() => expect(bobs.watched.size).toBe(0))
    for (const watcher of watchers) expect([...watcher.watched.keys()]).toEqual([cleo])
    expect(looks()).toBe(1)
  })

  it('[PRES2] the watcher is told that they know nothing any more of whom they share nothing with', async () => {
    const adas = await open(ada)
    const bobs = await open(bob)
    await node.run('watch-presence', ada, { users: [bob, cleo] }, adas.connection)
    await node.run('watch-presence', bob, { users: [ada] }, bobs.connection)
    await remove()
    await vi.waitFor(() => expect(toldTo(adas)).toEqual([{ user: bob, status: 'unknown', lastSeen: null }]))
    await vi.waitFor(() => expect(toldTo(bobs)).toEqual([{ user: ada, status: 'unknown', lastSeen: null }]))
  })

  it('[PRES2, TAIL1] a removal that only the sweep has noticed ends a watch, too', async () => {
    const adas = await open(ada)
    await node.run('watch-presence', ada, { users: [bob, cleo] }, adas.connection)
    // Nobody here is shown the group by now, so its log does not pass by here.
    node.parts.feeds.clear()
    const other = await TestNode.start(store.database, new LocalBusHub())
    await other.run('remove-member', ada, { conversation: group, user: bob })
    await node.sweeper.sweepNow()
    await vi.waitFor(() => expect([...adas.connection.watched.keys()]).toEqual([cleo]))
    expect(toldTo(adas)).toMatchObject([{ user: bob, status: 'unknown' }])
    other.stop()
  })

  it('[PRES2] a list that is sent while the old one is looked at stays', async () => {
    const connection = await connect(ada)
    await node.run('watch-presence', ada, { users: [bob, cleo] }, connection)
    intercept('read_shared_pairs', async (answer) => {
      const rows = await answer()
      await node.run('watch-presence', ada, { users: [cleo, ada, bob] }, connection)
      return rows
    })
    await remove()
    await vi.waitFor(() => expect([...connection.watched.keys()]).toEqual([cleo, ada]))
  })

  it('[PRES2] somebody who leaves while a list is looked at does not get onto it', async () => {
    const connection = await connect(ada)
    intercept('read_sharing', async (answer) => {
      const rows = await answer()
      const noted = vi.spyOn(node.parts.presences, 'noteLeft')
      await remove()
      await vi.waitFor(() => expect(noted).toHaveBeenCalledWith(bob))
      return rows
    })
    const { presence } = await node.run('watch-presence', ada, { users: [bob, cleo] }, connection)
    expect(presence.map(({ status }) => status)).toEqual(['unknown', 'offline'])
    expect([...connection.watched.keys()]).toEqual([cleo])
  })

  it('[PRES2] of two lists of a connection the later stays, whichever was looked at first', async () => {
    const connection = await connect(ada)
    let second: Promise<unknown> | undefined
    intercept('read_sharing', async (answer) => {
      second = node.run('watch-presence', ada, { users: [cleo] }, connection)
      await second
      return answer()
    })
    await node.run('watch-presence', ada, { users: [bob] }, connection)
    expect([...connection.watched.keys()]).toEqual([cleo])
  })

  it('[PRES2] what cannot be looked at ends, and nothing else', async () => {
    const connection = await connect(ada)
    await node.run('watch-presence', ada, { users: [bob, cleo] }, connection)
    const query = vi.fn(() => Promise.reject(new Error('away')))
    Object.assign(node.parts, { database: { query } })
    recheckWatches(node.parts, bob)
    await vi.waitFor(() => expect([...connection.watched.keys()]).toEqual([cleo]), { timeout: 5_000 })
    expect(query).toHaveBeenCalledTimes(3)
  })
})
