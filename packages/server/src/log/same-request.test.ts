/** Tests that a repeated message is recognised, whatever the order of keys in its `data`. */
import { randomUUID } from 'node:crypto'
import type { Id, Json } from '@chorus/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withSortedKeys } from './same-request.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

describe.each(testEngines)('recognition of a repeated message on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let ada: Id
  let group: Id
  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    ada = await fixture.user()
    group = await fixture.group([ada])
  })
  afterAll(() => store.close())

  const send = (clientId: Id, data: Json, text = 'hello') => fixture.send(group, ada, text, { clientId, data })
  const data = {
    kind: 'poll',
    options: [
      { id: 1, label: 'one' },
      { id: 2, label: 'two' },
    ],
    z: null,
  }
  const turned = {
    z: null,
    options: [
      { label: 'one', id: 1 },
      { label: 'two', id: 2 },
    ],
    kind: 'poll',
  }

  it('[IDEM1] treats a message whose data has reordered keys as the same request', async () => {
    const clientId = randomUUID()
    const first = await send(clientId, data)
    expect(first.outcome).toBe('stored')
    for (const again of [data, turned])
      expect(await send(clientId, again)).toMatchObject({ outcome: 'duplicate', seq: first.seq, at: first.at })
  })

  it('[IDEM1] reports a conflict when a repeated clientId has other content', async () => {
    const clientId = randomUUID()
    await send(clientId, data)
    const others: Json[] = [
      { ...turned, z: 0 },
      { ...turned, extra: 1 },
      { ...turned, options: [...turned.options].reverse() },
      { kind: 'poll' },
      null,
    ]
    for (const other of others) expect(await send(clientId, other)).toMatchObject({ outcome: 'conflict' })
    expect(await send(clientId, turned, 'another text')).toMatchObject({ outcome: 'conflict' })
  })

  it('[IDEM1] recognises the first request after its message was edited', async () => {
    const clientId = randomUUID()
    const first = await send(clientId, data)
    await fixture.apply({ op: 'edit', conversation: group, actor: ada, target: first.seq, text: 'edited' })
    expect(await send(clientId, turned)).toMatchObject({ outcome: 'duplicate', seq: first.seq })
    expect(await send(clientId, turned, 'edited')).toMatchObject({ outcome: 'conflict' })
  })

  it('sorts the keys of objects at every depth and keeps the order of lists', () => {
    expect(JSON.stringify(withSortedKeys({ b: [{ d: 1, c: 2 }, 3], a: 'x' }))).toBe('{"a":"x","b":[{"c":2,"d":1},3]}')
  })
})
