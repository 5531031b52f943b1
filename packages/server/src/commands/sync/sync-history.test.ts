/**
 * Tests `sync` while the database epoch changes: the whole page shows one database history, or the
 * answer is a reset.
 */
import type { Id } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LocalBusHub } from '../../bus/bus-local.ts'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase } from '../../database/testing/open-test-database.ts'
import { TestNode } from '../testing/test-node.ts'

describe('sync while the database epoch changes', () => {
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

  it('[RES2] a sync answers with a reset when the epoch changes during its read', async () => {
    const first = await node.run('sync', ada, { limit: 50 })
    node.before.set('read_memberships', async () => {
      epoch = 'after'
    })
    const page = await node.run('sync', ada, { limit: 50, cursor: first.cursor })
    expect(page).toMatchObject({ epoch: 'after', reset: true, more: false })
    expect(page.conversations).toHaveLength(1)
    expect(node.parts.cursors.decode(page.cursor)?.epoch).toBe('after')
    // Within one epoch the next page repeats nothing.
    const next = await node.run('sync', ada, { limit: 50, cursor: page.cursor })
    expect(next.reset).toBeUndefined()
    node.stop()
  })

  it('[RES2] a sync answers `unavailable` when the epoch changes twice', async () => {
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

describe('sync while its user is removed', () => {
  let store: TestDatabase

  beforeAll(async () => {
    store = await openTestDatabase('embedded')
  })
  afterAll(() => store.close())

  it('[ACL1] a sync shows no edit made after a removal during its read', async () => {
    const node = await TestNode.start(store.database, new LocalBusHub())
    const fixture = new LogFixture(store.database)
    const [ada, bob] = (await fixture.users(2)) as [Id, Id]
    const group = await fixture.group([ada, bob])
    const { cursor } = await node.run('sync', bob, { limit: 50 })
    const { seq: target } = await fixture.send(group, ada, 'for everybody')
    node.before.set('read_log_stretch', async () => {
      await fixture.apply({ op: 'remove-member', conversation: group, actor: ada, user: bob })
      await fixture.apply({ op: 'edit', conversation: group, actor: ada, target, text: 'for those who stayed' })
    })
    const page = await node.run('sync', bob, { limit: 50, cursor })
    expect(node.statements).toContain('read_log_stretch')
    expect(JSON.stringify(page)).not.toContain('for those who stayed')
    const next = await node.run('sync', bob, { limit: 50, cursor: page.cursor })
    expect([...page.conversations, ...next.conversations]).toContainEqual(expect.objectContaining({ left: true }))
    node.stop()
  })
})
