/**
 * Tests on both engines that catch-up returns missed changes and pages only with a membership proof
 * that covers them, and without texts deleted since.
 */
import type { Id } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Database } from '../database/database.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import { readRange } from '../log/read-changes.ts'
import { systemClock } from '../support/clock.ts'
import { CatchUp } from './catch-up.ts'
import type { MembershipProof } from './membership-proof.ts'

describe.each(testEngines)('catch-up on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let database: Database
  let statements: string[]
  let ada: Id
  let bob: Id
  let group: Id
  let catchUp: CatchUp
  const feed = { headSeq: 0, rewrittenSeq: 0, held: () => undefined }

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    database = new Proxy(store.database, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown
        if (typeof value !== 'function') return value
        if (key === 'query')
          return (statement: Parameters<Database['query']>[0]) => {
            statements.push(statement.name ?? '')
            return target.query(statement)
          }
        return (value as (...args: unknown[]) => unknown).bind(target)
      },
    })
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
    group = await fixture.group([ada, bob])
    statements = []
    catchUp = new CatchUp({ database, clock: systemClock, epoch: () => 'one' })
    Object.assign(feed, { headSeq: 0, rewrittenSeq: 0 })
  })

  async function prove(user: Id): Promise<MembershipProof> {
    const proof = await catchUp.prove(user, group)
    if (proof === undefined) throw new Error('not a member')
    return proof
  }
  const change = async (seq: number) =>
    (await readRange(store.database, { conversation: group, from: seq, to: seq }, 1))[0]!
  const remove = (user: Id) => fixture.apply({ op: 'remove-member', conversation: group, actor: ada, user })
  const edit = (target: number, text: string) =>
    fixture.apply({ op: 'edit', conversation: group, actor: ada, target, text })

  it('[ACL1] proves only memberships of this conversation, as of its newest seq', async () => {
    const { seq } = await fixture.send(group, ada)
    expect(await catchUp.prove(bob, group)).toEqual({ user: bob, conversation: group, seq })
    await remove(bob)
    expect(await catchUp.prove(bob, group)).toBeUndefined()
    const [stranger] = await fixture.users(1)
    expect(await catchUp.prove(stranger!, group)).toBeUndefined()
  })

  it('[ACL1] shows an edit after the membership proof to current members only', async () => {
    const { seq } = await fixture.send(group, ada, 'for everybody')
    const [adas, bobs] = [await prove(ada), await prove(bob)]
    const before = (await catchUp.read(bobs, seq, seq))!
    expect([before.proof, JSON.stringify(before.changes)]).toEqual([
      bobs,
      expect.stringContaining('for everybody') as string,
    ])
    await remove(bob)
    const { seq: edited } = await edit(seq, 'a secret')
    for (const cache of ['cold', 'warm']) {
      if (cache === 'cold') catchUp = new CatchUp({ database, clock: systemClock, epoch: () => 'one' })
      const shown = (await catchUp.read(adas, seq, seq))!
      expect([shown.proof.seq, JSON.stringify(shown.changes)]).toEqual([
        edited,
        expect.stringContaining('a secret') as string,
      ])
      expect(await catchUp.read(bobs, seq, seq)).toBeUndefined()
    }
  })

  it('[ACL1] renews a membership proof before it returns newer recent changes', async () => {
    const run = catchUp.serve(group, feed)
    const first = await fixture.send(group, ada, 'first')
    const [adas, bobs] = [await prove(ada), await prove(bob)]
    await remove(bob)
    const last = await fixture.send(group, ada, 'a secret')
    for (let seq = first.seq; seq <= last.seq; seq++) run.append(await change(seq))
    expect((await catchUp.read(adas, first.seq, last.seq))?.proof.seq).toBe(last.seq)
    expect(await catchUp.read(bobs, first.seq, last.seq)).toBeUndefined()
    expect(catchUp.frames(bobs, first.seq)?.frames.map(({ seq }) => seq)).toEqual([first.seq])
  })

  it('[ERASE1] an edit makes changes outdated that were read before and not sent yet', async () => {
    const run = catchUp.serve(group, feed)
    const { seq } = await fixture.send(group, ada, 'a secret')
    run.append(await change(seq))
    const proof = await prove(bob)
    const frames = catchUp.frames(proof, seq)!
    const read = (await catchUp.read(proof, seq, seq))!
    expect([frames.isCurrent(), read.isCurrent()]).toEqual([true, true])
    const { seq: edited } = await edit(seq, 'better')
    run.append(await change(edited))
    feed.rewrittenSeq = edited
    expect([frames.isCurrent(), read.isCurrent(), catchUp.frames(proof, seq)]).toEqual([false, false, undefined])
    expect(JSON.stringify((await catchUp.read(proof, seq, seq))?.changes)).not.toContain('secret')
  })

  it('[ERASE1] reads the log if the recent changes may lack an edit', async () => {
    const run = catchUp.serve(group, feed)
    const { seq } = await fixture.send(group, ada, 'a secret')
    run.append(await change(seq))
    await edit(seq, 'better')
    expect(JSON.stringify((await catchUp.read(await prove(bob), seq, seq))?.changes)).not.toContain('secret')
  })

  it('[ERASE1] shows no cached page once a deletion is known', async () => {
    catchUp.serve(group, feed)
    const { seq } = await fixture.send(group, ada, 'a secret')
    const proof = await prove(bob)
    expect(JSON.stringify(await catchUp.page(proof))).toContain('a secret')
    feed.rewrittenSeq = (await fixture.apply({ op: 'delete', conversation: group, actor: ada, target: seq })).seq
    expect(JSON.stringify(await catchUp.page(proof))).not.toContain('secret')
  })

  it('[LIM2] serves later clients from the recent changes without a database query', async () => {
    const run = catchUp.serve(group, feed)
    await fixture.fill(group, ada, 100)
    const proof = await prove(bob)
    await catchUp.load([{ conversation: group, seq: proof.seq }], 1)
    statements = []
    for (let from = 1; from <= proof.seq; from += 20) {
      expect(catchUp.frames(proof, from)?.frames.at(-1)?.seq).toBe(proof.seq)
      expect((await catchUp.read(proof, from, proof.seq))?.changes).toHaveLength(proof.seq - from + 1)
    }
    expect(statements).toEqual([])
    run.retire()
    expect(catchUp.frames(proof, 1)).toBeUndefined()
  })

  it('[ACL1] returns only the removal for a removed user', async () => {
    const { seq } = await remove(bob)
    expect((await catchUp.readRemoval(group, seq))?.effect).toEqual({ kind: 'left', user: bob })
  })
})
