/** Tests the limits on questions at once and on waiting questions. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { QuestionSlots, slotLimits } from './question-slots.ts'

const { concurrentMax, waitingMax, waitMs } = slotLimits

async function fill(slots: QuestionSlots): Promise<void> {
  for (let taken = 0; taken < concurrentMax; taken++) expect(await slots.take()).toBe(true)
}

describe('the slots for questions', () => {
  it('[HOOK1] [LIM1] lets the longest waiting question begin when one ends', async () => {
    const slots = new QuestionSlots(new ManualClock())
    await fill(slots)
    const begun: number[] = []
    const waiting = [0, 1, 2].map(async (index) => {
      expect(await slots.take()).toBe(true)
      begun.push(index)
    })
    for (const wait of waiting) {
      slots.release()
      await wait
    }
    expect(begun).toEqual([0, 1, 2])
    expect(slots.waiting).toBe(0)
  })

  it('[HOOK1] [LIM1] refuses a question beyond its queue, and one that has waited too long', async () => {
    const clock = new ManualClock()
    const slots = new QuestionSlots(clock)
    await fill(slots)
    const waiting = Array.from({ length: waitingMax }, () => slots.take())
    expect(await slots.take()).toBe(false)
    clock.advance(waitMs)
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([false]))
    expect([slots.waiting, clock.pendingCount]).toEqual([0, 0])
  })

  it('[HOOK1] is free again after all questions have ended', async () => {
    const slots = new QuestionSlots(new ManualClock())
    for (let round = 0; round < 2; round++) {
      await fill(slots)
      for (let ended = 0; ended < concurrentMax; ended++) slots.release()
    }
  })
})
