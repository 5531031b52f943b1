/**
 * Tests the cache of a conversation's newest changes: their seqs are always consecutive and end at
 * the newest known change.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LoggedChange } from '../support/logged-change.ts'
import { RecentChanges, recentLimits } from './recent-changes.ts'
import { deletionChange, editChange, messageChange } from '../delivery/testing/delivery-fixture.ts'

const run = (from: number, to: number, xid?: (seq: number) => number) =>
  Array.from({ length: to - from + 1 }, (_, index) => messageChange(from + index, 'x', undefined, xid?.(from + index)))
const seqs = (changes: readonly { seq: number }[] | undefined) => changes?.map(({ seq }) => seq)

const add = (recent: RecentChanges, changes: readonly LoggedChange[]) => {
  for (const change of changes) recent.append(change)
}

describe('the recent changes of a conversation', () => {
  it('the cache of recent changes returns a range only when all of it is cached', () => {
    const recent = new RecentChanges()
    expect(recent.range(1, 1)).toBeUndefined()
    expect(recent.range(2, 1)).toEqual([])
    add(recent, run(5, 9))
    expect(seqs(recent.range(6, 8))).toEqual([6, 7, 8])
    expect(seqs(recent.range(5, 9))).toEqual([5, 6, 7, 8, 9])
    expect(recent.range(4, 6)).toBeUndefined()
    expect(recent.range(8, 10)).toBeUndefined()
  })

  it('starts the recent changes again after a gap, and adds older ones that connect', () => {
    const recent = new RecentChanges()
    add(recent, run(1, 3))
    add(recent, run(10, 12))
    expect(recent.range(3, 10)).toBeUndefined()
    recent.merge(run(4, 8))
    expect(recent.range(8, 12)).toBeUndefined()
    expect(recent.isLoaded).toBe(false)
    recent.merge(run(7, 11))
    expect(seqs(recent.range(7, 12))).toEqual([7, 8, 9, 10, 11, 12])
    expect(recent.isLoaded).toBe(true)
  })

  it('[LIM1] keeps only the newest changes, within count and byte limits', () => {
    const many = new RecentChanges()
    add(many, run(1, recentLimits.changesMax + 50))
    expect(many.range(50, 60)).toBeUndefined()
    expect(many.range(51, recentLimits.changesMax + 50)).toHaveLength(recentLimits.changesMax)
    const large = new RecentChanges()
    for (let seq = 1; seq <= 20; seq++) large.append(messageChange(seq, 'x'.repeat(50_000)))
    expect(large.range(16, 20)).toHaveLength(5)
    expect(large.range(15, 20)).toBeUndefined()
    large.append(messageChange(21, 'x'.repeat(recentLimits.bytesMax + 1)))
    expect(large.range(21, 21)).toHaveLength(1)
  })

  it('[LIM2] merges a load with cached changes, or replaces them if they do not connect', () => {
    const recent = new RecentChanges()
    add(recent, run(45, 50))
    recent.merge(run(40, 60))
    expect(seqs(recent.range(40, 60))).toHaveLength(21)
    expect(recent.asOf).toBe(60)
    recent.merge(run(100, 110))
    expect(recent.range(60, 100)).toBeUndefined()
    expect(seqs(recent.range(100, 110))).toHaveLength(11)
    expect(recent.isLoaded).toBe(true)
  })

  it('[LIM2] appends a change from a hint only when it is directly next', () => {
    const recent = new RecentChanges()
    recent.follow(messageChange(4))
    expect(recent.newestSeq).toBe(0)
    add(recent, run(1, 3))
    for (const seq of [5, 2, 4, 5]) recent.follow(messageChange(seq))
    expect(seqs(recent.range(1, 5))).toEqual([1, 2, 3, 4, 5])
    recent.endAt(3)
    expect(recent.newestSeq).toBe(3)
    expect(seqs(recent.range(1, 3))).toEqual([1, 2, 3])
  })

  it('[LIM2, ACL1] limits how many changes a usable cached page may lack', () => {
    const recent = new RecentChanges()
    expect(recent.oldestPageSeq(0)).toBeUndefined()
    recent.merge(run(100, 110))
    add(recent, run(111, 113))
    expect([109, 110, 113, 114].map((seq) => recent.oldestPageSeq(seq))).toEqual([undefined, 99, 99, undefined])
    add(recent, run(114, 240))
    expect(recent.oldestPageSeq(240)).toBe(240 - recentLimits.pageBehindMax)
    const deletion = messageChange(241)
    recent.append({ ...deletion, json: deletion.json.replace('message.created', 'message.deleted') })
    add(recent, run(242, 245))
    expect([240, 241, 245].map((seq) => recent.oldestPageSeq(seq))).toEqual([140, 241, 241])
  })

  it('[ERASE1] [ACL1] an edit or deletion rewrites the cached message', () => {
    for (const rewrite of [deletionChange(8, 3), editChange(8, 3, 'better')]) {
      const recent = new RecentChanges()
      recent.append(messageChange(2))
      recent.append(messageChange(3, 'a secret'))
      recent.append(editChange(4, 3, 'another secret'))
      add(recent, run(5, 7))
      expect(JSON.stringify(recent.frames(2, 7))).toContain('secret')
      recent.append(rewrite)
      expect(JSON.stringify(recent.range(2, 8))).not.toContain('secret')
      expect(JSON.stringify(recent.frames(2, 7))).not.toContain('secret')
      // The rewritten changes may be sent only to users who were members at that seq.
      expect(recent.asOf).toBe(8)
      expect(recent.bytes).toBeGreaterThan(0)
    }
    const recent = new RecentChanges()
    add(recent, run(2, 4))
    recent.append(deletionChange(5, 1))
    expect(recent.asOf).toBe(0)
  })

  it('[ERASE1] restores no deleted text from a load begun before the deletion', () => {
    const recent = new RecentChanges()
    add(recent, run(5, 6))
    recent.append(deletionChange(7, 3))
    // These changes were read as of seq 5, before the deletion.
    recent.merge([messageChange(2), messageChange(3, 'a secret'), ...run(4, 5)])
    expect(seqs(recent.range(2, 7))).toEqual([2, 3, 4, 5, 6, 7])
    expect(JSON.stringify(recent.range(2, 7))).not.toContain('secret')
    expect(recent.asOf).toBe(7)
  })

  it('[ERASE1] accepts no cached page from before an edit', () => {
    const recent = new RecentChanges()
    recent.merge(run(100, 110))
    recent.append(editChange(111, 90, 'better'))
    add(recent, run(112, 113))
    expect(recent.oldestPageSeq(113)).toBe(111)
  })

  it('[LIM2] returns the same encoded frames for the same range of changes', () => {
    const recent = new RecentChanges()
    add(recent, run(1, 10))
    const frames = recent.frames(4, 9)
    expect(frames).toMatchObject([{ seq: 9, changes: 6 }])
    expect(
      (JSON.parse(frames?.[0]?.frame.json ?? '') as { changes: { seq: number }[] }).changes.map(({ seq }) => seq),
    ).toEqual([4, 5, 6, 7, 8, 9])
    const before = recent.bytes
    recent.append(messageChange(11))
    expect(recent.frames(4, 9)).toBe(frames)
    expect(recent.frames(10, 9)).toEqual([])
    expect(recent.frames(4, 12)).toBeUndefined()
    expect(recent.frames(4, 11)).toMatchObject([{ seq: 11, changes: 8 }])
    expect(recent.frames(4, 9)).not.toBe(frames)
    expect(recent.bytes).toBeGreaterThan(before)
    recent.shrink()
    expect(recent.bytes).toBeLessThan(before)
    recent.clear()
    expect([recent.bytes, recent.frames(4, 9)]).toEqual([0, undefined])
  })

  it("[RES1] finds the first change since a cursor's position, or undefined", () => {
    const recent = new RecentChanges()
    add(
      recent,
      run(11, 20, (seq) => 100 + Math.floor(seq / 2)),
    )
    expect(recent.boundary(108, 20)).toBe(15)
    expect(recent.boundary(500, 20)).toBe(20)
    expect(recent.boundary(105, 20)).toBeUndefined()
    expect(recent.boundary(108, 21)).toBeUndefined()
    const whole = new RecentChanges()
    add(
      whole,
      run(1, 5, () => 200),
    )
    expect(whole.boundary(200, 5)).toBe(0)
  })

  it('the cached changes stay consecutive after any appends and merges', () => {
    const part = fc.record({
      from: fc.integer({ min: 1, max: 60 }),
      length: fc.integer({ min: 1, max: 20 }),
      before: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        const recent = new RecentChanges()
        for (const { from, length, before } of parts) {
          if (before) recent.merge(run(from, from + length - 1))
          else add(recent, run(from, from + length - 1))
          const newest = recent.newestSeq
          let first = newest
          while (first > 1 && recent.range(first - 1, newest) !== undefined) first--
          expect(seqs(recent.range(first, newest))).toEqual(
            Array.from({ length: newest - first + 1 }, (_, index) => first + index),
          )
        }
      }),
    )
  })
})
