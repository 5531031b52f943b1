/** Tests the reads of changes that clients missed, on both engines. */
import { randomUUID } from 'node:crypto'
import { type Change, type Id, sentChangeSchema } from '@chorus/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LoggedChange } from '../support/logged-change.ts'
import { readChangesForMember, readGap, readMissed, readNewestChanges, readRange, readSegment } from './read-changes.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

const extent = { atLeast: 4, atMost: 20, bytesMax: 262_144 }

describe.each(testEngines)('reading the newest changes on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let ada: Id

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    ;[ada] = (await fixture.users(1)) as [Id]
  })
  afterAll(() => store.close())

  const seqsOf = async (conversation: Id, position: number, bytesMax = extent.bytesMax) => {
    const read = await readNewestChanges(store.database, [{ conversation, position }], { ...extent, bytesMax })
    return read.get(conversation)?.map(({ seq }) => seq)
  }
  const upTo = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)

  it("[LIM2] reads changes back to the client's position, within limits", async () => {
    const group = await fixture.group([ada])
    await fixture.fill(group, ada, 28)
    const whole = await readNewestChanges(store.database, [{ conversation: group, position: 0 }], {
      ...extent,
      atMost: 100,
    })
    const changes = whole.get(group) ?? []
    const top = changes.at(-1)?.seq ?? 0
    expect(changes.map(({ seq }) => seq)).toEqual(upTo(1, top))
    // A client that misses nothing still gets `atLeast` changes. A client that has nothing gets
    // `atMost` changes.
    expect(await seqsOf(group, Number.MAX_SAFE_INTEGER)).toEqual(upTo(top - 3, top))
    expect(await seqsOf(group, 0)).toEqual(upTo(top - 19, top))
    for (let index = 0; index < 6; index++) await fixture.send(group, ada, `after ${index}`)
    const [seventh] =
      (await readNewestChanges(store.database, [{ conversation: group, position: 0 }], extent)).get(group)?.slice(-6) ??
      []
    // The result includes the last change that the client already has, as proof that no change is
    // missing.
    expect(await seqsOf(group, seventh?.xid ?? 0)).toEqual(upTo(top, top + 6))
  })

  it('[LIM1] reading changes ends at its byte limit, but includes the newest change', async () => {
    const group = await fixture.group([ada])
    for (let index = 0; index < 5; index++) await fixture.send(group, ada, 'x'.repeat(1_000))
    const all = (await seqsOf(group, 0)) ?? []
    expect(await seqsOf(group, 0, 2_500)).toEqual(all.slice(-2))
    expect(await seqsOf(group, 0, 10)).toEqual(all.slice(-1))
  })

  it('every read of the log returns the same edited and deleted messages', async () => {
    const group = await fixture.group([ada])
    const { seq: edited } = await fixture.send(group, ada, 'first')
    const { seq: deleted } = await fixture.send(group, ada, 'second')
    await fixture.apply({ op: 'edit', conversation: group, actor: ada, target: edited, text: 'better' })
    await fixture.apply({ op: 'delete', conversation: group, actor: ada, target: deleted })
    const read = await readNewestChanges(store.database, [{ conversation: group, position: 0 }], extent)
    const parsed = read.get(group)?.map(({ json }) => JSON.parse(json) as Change)
    const page = await readChangesForMember(store.database, ada, group, 0, 50)
    expect(parsed).toEqual(page?.changes)
    const texts = parsed?.flatMap((change) => ('message' in change ? [[change.type, change.message.text]] : []))
    expect(texts).toEqual([
      ['message.created', 'better'],
      ['message.created', ''],
      ['message.edited', 'better'],
      ['message.deleted', ''],
    ])
    expect(await seqsOf(randomUUID(), 0)).toEqual([])
  })

  it('[RES5] every read of the log returns changes of types from a later version', async () => {
    const group = await fixture.group([ada])
    const { seq: other, at } = await fixture.appendOther(group, ada, { type: 'message.later', target: 1 })
    const { seq: broken } = await fixture.appendOther(group, ada, { type: 'member.left' })
    const { seq: orphan } = await fixture.appendOther(group, ada, { type: 'message.edited', target: 999_999 })
    const { seq: last } = await fixture.send(group, ada, 'after')
    const { database } = store
    const range = { conversation: group, from: other, to: last }
    const missed = {
      conversation: group,
      position: 1,
      top: last,
      alignment: 1_000,
      changesMax: 2_000,
      bytesMax: 1_000_000,
    }
    const roads: Record<string, readonly LoggedChange[]> = {
      range: await readRange(database, range, 10),
      gap: (await readGap(database, range, 10)).changes,
      segment: (await readSegment(database, range, 1_000_000)).changes,
      missed: (await readMissed(database, missed)).changes,
      newest: (await readNewestChanges(database, [{ conversation: group, position: 0 }], extent)).get(group) ?? [],
    }
    const page = await readChangesForMember(database, ada, group, other - 1, 50)
    for (const [road, changes] of [...Object.entries(roads), ['page', undefined] as const]) {
      const shown = changes?.map(({ json }) => JSON.parse(json) as Change) ?? page?.changes ?? []
      expect(shown.slice(-4), road).toMatchObject([
        { seq: other, type: 'message.later', at, actor: ada },
        { seq: broken, type: 'skip', from: broken, to: broken },
        { seq: orphan, type: 'skip', from: orphan, to: orphan },
        { seq: last, type: 'message.created' },
      ])
      expect(Object.keys(shown.at(-4) ?? {}).sort(), road).toEqual(['actor', 'at', 'seq', 'type'])
      for (const change of shown) expect(sentChangeSchema.safeParse(change).success, road).toBe(true)
    }
  })
})
