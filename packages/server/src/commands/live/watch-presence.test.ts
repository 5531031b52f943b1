/**
 * Tests which users may see whose presence, while users leave conversations and watch lists change
 * at the same time.
 */
import type { Id } from '@chorus/protocol'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Connection } from '../../delivery/connection.ts'
import { LocalBusHub } from '../../bus/bus-local.ts'
import type { Database } from '../../database/database.ts'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase } from '../../database/testing/open-test-database.ts'
import { revalidatePresenceSubscriptions } from '../../connections/revalidate-presence-subscriptions.ts'
import { type Opened, TestNode } from '../testing/test-node.ts'

describe('watching presence while users leave', () => {
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
  /**
   * Replaces the next statement of this name by `act`, which may run the statement before or after
   * its own work.
   */
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

  it('[PRES2] checks all watchers of a departed user in one read, and ends their watches', async () => {
    const watchers = await Promise.all(Array.from({ length: 20 }, () => connect(ada)))
    const bobs = await connect(bob)
    for (const watcher of watchers) await node.run('watch-presence', ada, { users: [bob, cleo] }, watcher)
    await node.run('watch-presence', bob, { users: [ada] }, bobs)
    await remove()
    await vi.waitFor(() => expect(bobs.watched.size).toBe(0))
    for (const watcher of watchers) expect([...watcher.watched.keys()]).toEqual([cleo])
    expect(looks()).toBe(1)
  })

  it('[PRES2] sends presence `unknown` to a watcher without a shared conversation', async () => {
    const adas = await open(ada)
    const bobs = await open(bob)
    await node.run('watch-presence', ada, { users: [bob, cleo] }, adas.connection)
    await node.run('watch-presence', bob, { users: [ada] }, bobs.connection)
    await remove()
    await vi.waitFor(() => expect(toldTo(adas)).toEqual([{ user: bob, status: 'unknown', lastSeen: null }]))
    await vi.waitFor(() => expect(toldTo(bobs)).toEqual([{ user: ada, status: 'unknown', lastSeen: null }]))
  })

  it('[PRES2, TAIL1] ends a presence watch after a removal that only the sweep found', async () => {
    const adas = await open(ada)
    await node.run('watch-presence', ada, { users: [bob, cleo] }, adas.connection)
    // Drop the feeds, so that this server does not receive the changes of the group.
    node.parts.feeds.clear()
    const other = await TestNode.start(store.database, new LocalBusHub())
    await other.run('remove-member', ada, { conversation: group, user: bob })
    await node.sweeper.sweepNow()
    await vi.waitFor(() => expect([...adas.connection.watched.keys()]).toEqual([cleo]))
    expect(toldTo(adas)).toMatchObject([{ user: bob, status: 'unknown' }])
    other.stop()
  })

  it('[PRES2] keeps a new watch list that arrives while the old one is checked', async () => {
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

  it('[PRES2] does not watch the presence of a user who leaves during the check', async () => {
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

  it('[PRES2] keeps the later of two presence watch lists, whichever check ends first', async () => {
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

  it('[PRES2] ends only the presence watches that cannot be checked', async () => {
    const connection = await connect(ada)
    await node.run('watch-presence', ada, { users: [bob, cleo] }, connection)
    const query = vi.fn(() => Promise.reject(new Error('away')))
    Object.assign(node.parts, { database: { query } })
    revalidatePresenceSubscriptions(node.parts, bob)
    await vi.waitFor(() => expect([...connection.watched.keys()]).toEqual([cleo]), { timeout: 5_000 })
    expect(query).toHaveBeenCalledTimes(3)
  })
})
