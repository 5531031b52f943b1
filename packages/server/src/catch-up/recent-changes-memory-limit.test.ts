/**
 * Tests the memory limit for the recent changes of all conversations: which of their caches are
 * emptied, and when.
 */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { RecentChangesMemoryLimit, recentMemoryLimits } from './recent-changes-memory-limit.ts'
import { RecentChanges, recentLimits } from './recent-changes.ts'
import { messageChange } from '../delivery/testing/delivery-fixture.ts'

const fill = (recent: RecentChanges, from: number, to: number, text = 'x') => {
  for (let seq = from; seq <= to; seq++) recent.append(messageChange(seq, text))
}

describe('the memory limit of recent changes', () => {
  it('[LIM1] empties the least recently used cache; a read counts as use', () => {
    const clock = new ManualClock()
    const budget = new RecentChangesMemoryLimit(clock, 50_000)
    const [one, two, three] = [new RecentChanges(budget), new RecentChanges(budget), new RecentChanges(budget)]
    for (const recent of [one, two, three]) {
      fill(recent, 1, 10, 'x'.repeat(1_000))
      clock.advance(recentMemoryLimits.tickMs)
    }
    expect(budget.bytes).toBe(one.bytes + two.bytes + three.bytes)
    expect(one.range(1, 10)).toHaveLength(10)
    fill(three, 11, 20, 'x'.repeat(1_000))
    expect(two.newestSeq).toBe(0)
    expect(one.newestSeq).toBe(10)
    expect(three.newestSeq).toBe(20)
    expect(budget.bytes).toBe(one.bytes + three.bytes)
    // A new change fills the emptied cache again, and it counts against the limit again.
    fill(two, 11, 11)
    expect(budget.bytes).toBe(one.bytes + two.bytes + three.bytes)
  })

  it('[LIM1] shrinks a cache that was unused for a while to its newest changes', () => {
    const clock = new ManualClock()
    const budget = new RecentChangesMemoryLimit(clock)
    const [quiet, lively] = [new RecentChanges(budget), new RecentChanges(budget)]
    fill(quiet, 1, recentLimits.changesMax)
    fill(lively, 1, recentLimits.changesMax)
    for (let tick = 0; tick <= recentMemoryLimits.quietTicks; tick++) {
      clock.advance(recentMemoryLimits.tickMs)
      fill(lively, recentLimits.changesMax + tick + 1, recentLimits.changesMax + tick + 1)
    }
    const oldest = recentLimits.changesMax - recentLimits.quietChangesMax + 1
    expect(quiet.range(oldest - 1, oldest)).toBeUndefined()
    expect(quiet.range(oldest, recentLimits.changesMax)).toHaveLength(recentLimits.quietChangesMax)
    expect(lively.range(lively.newestSeq - 200, lively.newestSeq)).toHaveLength(201)
    expect(budget.bytes).toBe(quiet.bytes + lively.bytes)
  })

  it('[LIM1] stops counting the recent changes of a conversation whose feed has ended', () => {
    const budget = new RecentChangesMemoryLimit(new ManualClock())
    const recent = new RecentChanges(budget)
    fill(recent, 1, 10)
    recent.retire()
    expect(budget.bytes).toBe(0)
    fill(recent, 11, 20)
    expect(recent.range(1, 20)).toHaveLength(20)
    expect(budget.bytes).toBe(0)
  })
})
