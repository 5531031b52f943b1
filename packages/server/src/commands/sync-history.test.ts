/** `sync` while the database changes from one history to another: the page is of one of them, whole, or a reset. */
import type { Id } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LocalBusHub } from '../fanout/bus-local.ts'
import { LogFixture } from '../store/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase } from '../store/testing/open-test-database.ts'
import { TestNode } from './testing/test-node.ts'

describe('sync across a change of history', () => {
  let store: TestDatabase
  let node: TestNode
  let ada: Id
  let epoch: string

  beforeAll(async () => {
    store = await openTestDatabase('embedded')
    const fixture = new LogFixture(store.database)
    ;[ada] = (await fixture.users(1)) as [Id]
    await fixture.group([ada])
  })
  beforeEach(async () => {
    node = await TestNode.start(store.database, new LocalBusHub())
    epoch = 'before'
    Object.assign(node.parts, { epoch: () => epoch })
  })
  afterAll(() => store.close())

  it('[RES2] a page read while the history changed is answered as a reset, with the new one', async () => {
    const first = await node.run('sync', ada, { limit: 50 })
    node.before.set('read_memberships', async () => {
      epoch = 'after'
    })
    const page = await node.run('sync', ada, { limit: 50, cursor: first.cursor })
    expect(page).toMatchObject({ epoch: 'after', reset: true, more: false })
    expect(page.conversations).toHaveLength(1)
    expect(node.parts.cursors.decode(page.cursor)?.epoch).toBe('after')
    // Within one history nothing is repeated.
    const next = await node.run('sync', ada, { limit: 50, cursor: page.cursor })
    expect(next.reset).toBeUndefined()
    node.stop()
  })

  it('[RES2] a history that changes again meanwhile is asked for later', async () => {
    node.before.set('read_memberships', async () => {
      epoch = 'after'
      node.before.set('read_memberships', async () => {
        epoch = 'later'
      })
    })
    await expect(node.run('sync', ada, { limit: 50 })).rejects.toMatchObject({ code: 'unavailable', retry: 'later' })
    node.stop()
  })
})
