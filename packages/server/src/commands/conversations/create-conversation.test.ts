/** Tests repeated creations and the limits on adding strangers, on both engines. */
import { randomUUID } from 'node:crypto'
import { ChorusError, type Id } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Limits } from '../../auth/limits.ts'
import { noLimits } from '../../auth/testing/no-limits.ts'
import { LocalBusHub } from '../../bus/bus-local.ts'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../../database/testing/open-test-database.ts'
import { ManualClock } from '../../support/testing/manual-clock.ts'
import { TestNode } from '../testing/test-node.ts'

describe.each(testEngines)('creating conversations on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let node: TestNode
  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    node = await TestNode.start(store.database, new LocalBusHub())
  })
  afterAll(async () => {
    node.stop()
    await store.close()
  })
  beforeEach(() => limitStrangers(4))

  function limitStrangers(limit: number): void {
    Object.assign(node.parts, { limits: new Limits({ ...noLimits, limitStrangers: limit }, new ManualClock()) })
  }

  async function outcomeOf(asked: Promise<unknown>): Promise<string> {
    try {
      await asked
      return 'done'
    } catch (error) {
      expect(error).toBeInstanceOf(ChorusError)
      return (error as ChorusError).code
    }
  }

  const createGroup = (by: Id, members: Id[]) =>
    outcomeOf(node.run('create-conversation', by, { kind: 'group', members }))

  it('[IDEM2] answers a repeated creation with the first conversation', async () => {
    const [ada, bob] = (await fixture.users(2)) as [Id, Id]
    const input = { kind: 'group' as const, name: 'once', members: [bob], clientId: randomUUID() }
    const first = await node.run('create-conversation', ada, input)
    const again = await node.run('create-conversation', ada, input)
    expect(first.duplicate).toBeUndefined()
    expect(again).toMatchObject({ duplicate: true, conversation: { id: first.conversation.id, name: 'once' } })
    expect(await outcomeOf(node.run('create-conversation', ada, { ...input, name: 'twice' }))).toBe('conflict')
  })

  it('[ADD1] limits how many strangers a user adds, with retryAfterMs in the refusal', async () => {
    const [ada, ...others] = (await fixture.users(8)) as [Id, ...Id[]]
    expect(await createGroup(ada, others.slice(0, 3))).toBe('done')
    const refused = node.run('create-conversation', ada, { kind: 'group', members: others.slice(3, 6) })
    await expect(refused).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: expect.any(Number) as number })
    expect(await createGroup(ada, others.slice(3, 4))).toBe('done')
    const own = await node.run('create-conversation', ada, { kind: 'group', members: [] })
    const put = { conversation: own.conversation.id, user: others[6] as Id }
    expect(await outcomeOf(node.run('put-member', ada, put))).toBe('rate-limited')
  })

  it('[ADD1] limits how often one user is added by strangers', async () => {
    const [victim, ...adders] = (await fixture.users(7)) as [Id, ...Id[]]
    const outcomes: string[] = []
    for (const adder of adders) outcomes.push(await createGroup(adder, [victim]))
    expect(outcomes).toEqual(['done', 'done', 'done', 'done', 'rate-limited', 'rate-limited'])
  })

  it('[ADD1] adding the same stranger to a new group counts again', async () => {
    const [spammer, victim] = (await fixture.users(2)) as [Id, Id]
    const outcomes: string[] = []
    for (let group = 0; group < 6; group++) outcomes.push(await createGroup(spammer, [victim]))
    expect(outcomes).toEqual(['done', 'done', 'done', 'done', 'rate-limited', 'rate-limited'])
  })

  it('[ADD1] a refused addition of strangers counts nothing', async () => {
    const [ada, bob, spammer, victim] = (await fixture.users(4)) as [Id, Id, Id, Id]
    const foreign = await fixture.group([ada])
    const joined = await fixture.group([ada, spammer])
    for (const conversation of [foreign, joined, foreign, joined, foreign, joined])
      expect(await outcomeOf(node.run('put-member', spammer, { conversation, user: victim }))).toMatch(
        /not-found|forbidden/,
      )
    expect(await createGroup(bob, [victim])).toBe('done')
    expect(await createGroup(spammer, [bob])).toBe('done')
  })

  it('[ADD1] users who wrote to the adder or share a channel are no strangers', async () => {
    const [ada, bob, cleo] = (await fixture.users(3)) as [Id, Id, Id]
    limitStrangers(1)
    const group = await fixture.group([ada, bob])
    await fixture.send(group, bob)
    const channel = await fixture.group([ada], 'channel')
    await node.run('put-member', cleo, { conversation: channel, user: 'me' })
    for (let turn = 0; turn < 5; turn++) expect(await createGroup(ada, [bob, cleo])).toBe('done')
  })

  it('[ADD1] a retry, an existing direct conversation or a role change counts no stranger', async () => {
    const [ada, bob, cleo] = (await fixture.users(3)) as [Id, Id, Id]
    limitStrangers(2)
    const direct = { kind: 'direct' as const, members: [bob] }
    const group = { kind: 'group' as const, members: [cleo], clientId: randomUUID() }
    const { conversation } = await node.run('create-conversation', ada, group)
    for (let turn = 0; turn < 5; turn++) {
      expect(await outcomeOf(node.run('create-conversation', ada, direct))).toBe('done')
      expect(await outcomeOf(node.run('create-conversation', ada, group))).toBe('done')
      const put = { conversation: conversation.id, user: cleo, role: 'moderator' as const }
      expect(await outcomeOf(node.run('put-member', ada, put))).toBe('done')
    }
  })
})
