/** Tests on both engines that log segments are read once for many clients and equal the log. */
import { type Id, limits } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { LogSegmentCache, segmentLimits } from './log-segment-cache.ts'
import { readBoundary, readRange } from '../log/read-changes.ts'
import { readPosition } from '../log/sweep-changes.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

const lacksMany = true

describe.each(testEngines)('the cache of log segments on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let ada: Id
  let bob: Id
  let group: Id
  let reads: string[]
  let epoch: string
  let clock: ManualClock
  let segments: LogSegmentCache

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
    segments = new LogSegmentCache({
      database: store.database,
      clock,
      epoch: () => epoch,
      onRead: (what, outcome) => void reads.push(`${what} ${outcome}`),
    })
  })
  const count = (what: string): number => reads.filter((read) => read === what).length

  /**
   * Waits for a position after all written changes. A transaction of another test file may hold the
   * position back for a moment.
   */
  async function positionPastAll(): Promise<number> {
    const top = (await fixture.seqs(group)).length
    const [newest] = await readRange(store.database, { conversation: group, from: top, to: top }, 1)
    for (;;) {
      const position = await readPosition(store.database)
      if (position > newest!.xid) return position
    }
  }

  /** Returns all changes `from` to `to`, however many segments they span. */
  async function readAll(from: number, to: number): Promise<string[]> {
    const found: string[] = []
    for (let next = from; next <= to; ) {
      const { changes, asOf } = await segments.read(group, next, to)
      expect(changes[0]?.seq).toBe(next)
      expect(asOf).toBeGreaterThanOrEqual(changes.at(-1)!.seq)
      found.push(...changes.map(({ json }) => json))
      next = changes.at(-1)!.seq + 1
    }
    return found
  }

  it('returns the same changes as the log, for any start and message size', async () => {
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
    // The segments were read in the first round, then served from the cache.
    expect(count('segments read')).toBeLessThanOrEqual(5)
  })

  it('[LIM2] reads a segment once for concurrent clients, and again after it expired', async () => {
    await fixture.fill(group, bob, 700)
    await Promise.all(Array.from({ length: 200 }, (_, index) => segments.read(group, 5 + (index % 50), 703)))
    expect(count('segments read')).toBe(1)
    // Clients that have missed only a few changes are served from the same segment.
    await Promise.all(Array.from({ length: 50 }, (_, index) => segments.read(group, 600 + index, 703)))
    expect(count('segments read')).toBe(1)
    clock.advance(segmentLimits.lifeMs)
    await segments.read(group, 5, 703)
    expect(count('segments read')).toBe(2)
    epoch = 'two'
    await segments.read(group, 5, 703)
    expect(count('segments read')).toBe(3)
  })

  it('[LIM2] reads only the missing changes, once for all clients that miss them', async () => {
    await fixture.fill(group, bob, 900)
    const answers = await Promise.all(Array.from({ length: 50 }, () => segments.read(group, 850, 903)))
    for (const { changes } of answers)
      expect(changes.map(({ seq }) => seq)).toEqual(Array.from({ length: 54 }, (_, index) => 850 + index))
    expect(count('segments read')).toBe(1)
    await fixture.fill(group, bob, 20)
    expect((await segments.read(group, 850, 923)).changes).toHaveLength(74)
    expect((await segments.read(group, 860, 923)).changes).toHaveLength(64)
    expect(count('segments read')).toBe(3)
  })

  it('reads changes that were appended after a segment was cached', async () => {
    await fixture.fill(group, bob, 10)
    expect((await segments.read(group, 4, 13)).changes).toHaveLength(10)
    await fixture.fill(group, bob, 1_200)
    expect(await readAll(14, 1_213)).toHaveLength(1_200)
    expect(await readAll(4, 1_213)).toHaveLength(1_210)
  })

  it('[ACL1] reports the seq up to which a segment shows edits', async () => {
    const { seq } = await fixture.send(group, bob, 'first words')
    const before = await segments.read(group, seq, seq)
    expect(before.asOf).toBe(seq)
    await fixture.apply({ op: 'edit', conversation: group, actor: bob, target: seq, text: 'second words' })
    const kept = await segments.read(group, seq, seq)
    expect([kept.asOf, kept.changes[0]?.json.includes('second')]).toEqual([seq, false])
    clock.advance(segmentLimits.lifeMs)
    const after = await segments.read(group, seq, seq)
    expect([after.asOf, after.changes[0]?.json.includes('second')]).toEqual([seq + 1, true])
  })

  it('[RES1, LIM2] reads the boundary (last known seq) of a position once and reuses it', async () => {
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
        expect(await segments.boundary(group, { position: position, top: top, settled: settled, lacksMany })).toBe(
          expected.get(position),
        )
      await fixture.fill(group, bob, 20)
    }
    expect(count('boundaries read')).toBeLessThanOrEqual(new Set(positions).size)
    // A position between two equal boundaries has the same one.
    const quiet = await readPosition(store.database)
    for (const position of [settled, quiet])
      await segments.boundary(group, { position: position, top: 400, settled: quiet, lacksMany })
    reads = []
    if (quiet > settled + 1) {
      expect(await segments.boundary(group, { position: settled + 1, top: 400, settled: quiet, lacksMany })).toBe(
        await readBoundary(store.database, group, settled + 1, 400),
      )
    }
    const [first] = positions as [number]
    // Clients at this position have now missed too many changes, as the database confirms.
    await fixture.fill(group, bob, limits.replayMaxChanges)
    const far = (await fixture.seqs(group)).length
    expect(await segments.boundary(group, { position: first, top: far, settled: settled, lacksMany })).toBeUndefined()
    expect(await readBoundary(store.database, group, first, far)).toBeUndefined()
  })

  it.each(['the boundary', 'the stretch'] as const)(
    '[LIM2] one segment read serves a boundary and its changes when %s is requested first',
    async (first) => {
      const before = await positionPastAll()
      await fixture.send(group, bob, 'one')
      const between = await positionPastAll()
      await fixture.fill(group, bob, 400)
      const settled = await positionPastAll()
      const top = (await fixture.seqs(group)).length
      // The first missed seq was found earlier, by a client that had missed little at that time.
      const known = await segments.boundary(group, { position: before, top, settled, lacksMany: false })
      reads = []
      const asks = [
        () => segments.boundary(group, { position: between, top, settled, lacksMany }),
        () => segments.read(group, (known ?? 0) + 1, top),
      ]
      if (first === 'the stretch') asks.reverse()
      await Promise.all(asks.map((ask) => ask()))
      await segments.read(group, (known ?? 0) + 2, top)
      expect(await segments.boundary(group, { position: between, top, settled, lacksMany })).toBe((known ?? 0) + 1)
      expect(count('boundaries read') + count('segments read')).toBe(1)
    },
  )

  it('[RES1] reads the boundary of a position each time while earlier transactions are open', async () => {
    const position = await readPosition(store.database)
    await fixture.send(group, bob)
    expect(await segments.boundary(group, { position: position + 5, top: 4, settled: position, lacksMany })).toBe(
      await readBoundary(store.database, group, position + 5, 4),
    )
    expect(count('boundaries read')).toBe(0)
  })

  it('does not cache a failed look-up of a segment', async () => {
    let fails = true
    const failing = new LogSegmentCache({
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
