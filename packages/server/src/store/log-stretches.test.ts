/** What many missed is read once for all of them, and it is what the log says. On both engines. */
import { type Id, limits } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { LogStretches, stretchBounds } from './log-stretches.ts'
import { readBoundary, readRange } from './read-changes.ts'
import { readPosition } from './sweep-changes.ts'
import { LogFixture } from './testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from './testing/open-test-database.ts'

const lacksMany = true

describe.each(testEngines)('stretches of the log on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let ada: Id
  let bob: Id
  let group: Id
  let reads: string[]
  let epoch: string
  let clock: ManualClock
  let stretches: LogStretches

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
    group = await fixture.group([ada, bob])
    reads = []
    epoch = 'one'
    clock = new ManualClock()
    stretches = new LogStretches({
      database: store.database,
      clock,
      epoch: () => epoch,
      onRead: (what, outcome) => void reads.push(`${what} ${outcome}`),
    })
  })
  const count = (what: string): number => reads.filter((read) => read === what).length

  /** A position that covers all that was written: a transaction of another suite may hold it back for a moment. */
  async function positionPastAll(): Promise<number> {
    const top = (await fixture.seqs(group)).length
    const [newest] = await readRange(store.database, { conversation: group, from: top, to: top }, 1)
    for (;;) {
      const position = await readPosition(store.database)
      if (position > newest!.xid) return position
    }
  }

  /** All of `from` to `to`, however many stretches it takes. */
  async function readAll(from: number, to: number): Promise<string[]> {
    const found: string[] = []
    for (let next = from; next <= to; ) {
      const { changes, asOf } = await stretches.read(group, next, to)
      expect(changes[0]?.seq).toBe(next)
      expect(asOf).toBeGreaterThanOrEqual(changes.at(-1)!.seq)
      found.push(...changes.map(({ json }) => json))
      next = changes.at(-1)!.seq + 1
    }
    return found
  }

  it('are what the log says, wherever one begins and however large the messages are', async () => {
    await fixture.fill(group, bob, 900)
    await fixture.fill(group, bob, 150, 'x'.repeat(19_000))
    await fixture.fill(group, bob, 1_400)
    const top = (await fixture.seqs(group)).length
    for (const [from, to] of [
      [1, top],
      [1, 1],
      [1_000, 1_001],
      [999, 1_003],
      [850, 1_100],
      [top, top],
      [1_001, top],
      [2_001, 2_002],
    ] as const) {
      const expected = (await readRange(store.database, { conversation: group, from, to }, 10_000)).map(
        ({ json }) => json,
      )
      expect(await readAll(from, to)).toEqual(expected)
    }
    // Read in the first round, shown again in all others.
    expect(count('stretches read')).toBeLessThanOrEqual(5)
  })

  it('[LIM2] are read once however many ask at once, and anew after a while', async () => {
    await fixture.fill(group, bob, 700)
    await Promise.all(Array.from({ length: 200 }, (_, index) => stretches.read(group, 5 + (index % 50), 703)))
    expect(count('stretches read')).toBe(1)
    // Who lacks few of them is served from it, too.
    await Promise.all(Array.from({ length: 50 }, (_, index) => stretches.read(group, 600 + index, 703)))
    expect(count('stretches read')).toBe(1)
    clock.advance(stretchBounds.lifeMs)
    await stretches.read(group, 5, 703)
    expect(count('stretches read')).toBe(2)
    epoch = 'two'
    await stretches.read(group, 5, 703)
    expect(count('stretches read')).toBe(3)
  })

  it('[LIM2] who lacks few is read few for, together with all who lack the same', async () => {
    await fixture.fill(group, bob, 900)
    const answers = await Promise.all(Array.from({ length: 50 }, () => stretches.read(group, 850, 903)))
    for (const { changes } of answers)
      expect(changes.map(({ seq }) => seq)).toEqual(Array.from({ length: 54 }, (_, index) => 850 + index))
    expect(count('stretches read')).toBe(1)
    await fixture.fill(group, bob, 20)
    expect((await stretches.read(group, 850, 923)).changes).toHaveLength(74)
    expect((await stretches.read(group, 860, 923)).changes).toHaveLength(64)
    expect(count('stretches read')).toBe(3)
  })

  it('go on where the log went on', async () => {
    await fixture.fill(group, bob, 10)
    expect((await stretches.read(group, 4, 13)).changes).toHaveLength(10)
    await fixture.fill(group, bob, 1_200)
    expect(await readAll(14, 1_213)).toHaveLength(1_200)
    expect(await readAll(4, 1_213)).toHaveLength(1_210)
  })

  it('[ACL1] say as of when they were read: an edit since then is above that', async () => {
    const { seq } = await fixture.send(group, bob, 'first words')
    const before = await stretches.read(group, seq, seq)
    expect(before.asOf).toBe(seq)
    await fixture.apply({ op: 'edit', conversation: group, actor: bob, target: seq, text: 'second words' })
    const kept = await stretches.read(group, seq, seq)
    expect([kept.asOf, kept.changes[0]?.json.includes('second')]).toEqual([seq, false])
    clock.advance(stretchBounds.lifeMs)
    const after = await stretches.read(group, seq, seq)
    expect([after.asOf, after.changes[0]?.json.includes('second')]).toEqual([seq + 1, true])
    expect(await stretches.memberSeq(ada, group)).toBe(seq + 1)
    await fixture.apply({ op: 'remove-member', conversation: group, actor: ada, user: bob })
    expect(await stretches.memberSeq(bob, group)).toBeNull()
  })

  it('[RES1, LIM2] the boundary of a position is found once, and stands however far the log goes on', async () => {
    const positions: number[] = []
    for (let index = 0; index < 8; index++) {
      positions.push(await readPosition(store.database))
      await fixture.send(group, bob, `${index}`)
    }
    const settled = await readPosition(store.database)
    const expected = new Map<number, number | undefined>()
    const top = 11
    for (const position of positions) expected.set(position, await readBoundary(store.database, group, position, top))
    for (let round = 0; round < 2; round++) {
      for (const position of positions)
        expect(await stretches.boundary(group, { position: position, top: top, settled: settled, lacksMany })).toBe(
          expected.get(position),
        )
      await fixture.fill(group, bob, 20)
    }
    expect(count('boundaries read')).toBeLessThanOrEqual(new Set(positions).size)
    // Between two that are the same there is no other.
    const quiet = await readPosition(store.database)
    for (const position of [settled, quiet])
      await stretches.boundary(group, { position: position, top: 400, settled: quiet, lacksMany })
    reads = []
    if (quiet > settled + 1) {
      expect(await stretches.boundary(group, { position: settled + 1, top: 400, settled: quiet, lacksMany })).toBe(
        await readBoundary(store.database, group, settled + 1, 400),
      )
    }
    const [first] = positions as [number]
    // Too far back by now, as the database would say.
    await fixture.fill(group, bob, limits.replayMaxChanges)
    const far = (await fixture.seqs(group)).length
    expect(await stretches.boundary(group, { position: first, top: far, settled: settled, lacksMany })).toBeUndefined()
    expect(await readBoundary(store.database, group, first, far)).toBeUndefined()
  }, 30_000)

  it.each(['the boundary', 'the stretch'] as const)(
    '[LIM2] who knows the boundary and who does not read one stretch together, %s asked for first',
    async (first) => {
      const before = await positionPastAll()
      await fixture.send(group, bob, 'one')
      const between = await positionPastAll()
      await fixture.fill(group, bob, 400)
      const settled = await positionPastAll()
      const top = (await fixture.seqs(group)).length
      // Found a while ago, by somebody who lacked little then.
      const known = await stretches.boundary(group, { position: before, top, settled, lacksMany: false })
      reads = []
      const asks = [
        () => stretches.boundary(group, { position: between, top, settled, lacksMany }),
        () => stretches.read(group, (known ?? 0) + 1, top),
      ]
      if (first === 'the stretch') asks.reverse()
      await Promise.all(asks.map((ask) => ask()))
      await stretches.read(group, (known ?? 0) + 2, top)
      expect(await stretches.boundary(group, { position: between, top, settled, lacksMany })).toBe((known ?? 0) + 1)
      expect(count('boundaries read') + count('stretches read')).toBe(1)
    },
  )

  it('[RES1] a position that is not settled yet is looked up each time', async () => {
    const position = await readPosition(store.database)
    await fixture.send(group, bob)
    expect(await stretches.boundary(group, { position: position + 5, top: 4, settled: position, lacksMany })).toBe(
      await readBoundary(store.database, group, position + 5, 4),
    )
    expect(count('boundaries read')).toBe(0)
  })

  it('a failed look-up is not remembered', async () => {
    let fails = true
    const failing = new LogStretches({
      database: new Proxy(store.database, {
        get: (target, key) => {
          if (key === 'query' && fails) return () => Promise.reject(new Error('away'))
          const value = Reflect.get(target, key, target) as unknown
          return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
        },
      }),
      clock: systemClock,
      epoch: () => 'one',
    })
    await expect(failing.read(group, 1, 3)).rejects.toThrow('away')
    await expect(failing.boundary(group, { position: 3, top: 3, settled: 10, lacksMany })).rejects.toThrow('away')
    fails = false
    expect((await failing.read(group, 1, 3)).changes).toHaveLength(3)
    expect(await failing.boundary(group, { position: 3, top: 3, settled: 10, lacksMany })).toBe(
      await readBoundary(store.database, group, 3, 3),
    )
  })
})
