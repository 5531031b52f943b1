/** Tests that the commands of a user with large results run two at a time, in their order. */
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { Limits, type LimitSettings } from '../auth/limits.ts'
import { noLimits } from '../auth/testing/no-limits.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import type { CommandContext } from '../commands/command.ts'
import { LargeAnswers } from './large-answers.ts'

const user = randomUUID()

function contextOf(limits: Limits, userId: string, key?: string): CommandContext {
  const context = {
    parts: { limits },
    actor: { userId, sessionId: userId },
    ...(key !== undefined && { key: { id: key } }),
  }
  return context as unknown as CommandContext
}

function open(settings: Partial<LimitSettings> = { limitRequests: 100 }) {
  const limits = new Limits({ ...noLimits, ...settings }, new ManualClock())
  const answers = new LargeAnswers()
  const begun: number[] = []
  const ends: (() => void)[] = []
  const ask = (number: number, by = user, key?: string): Promise<string> =>
    answers
      .run(contextOf(limits, by, key), async () => {
        begun.push(number)
        await new Promise<void>((resolve) => ends.push(resolve))
        return 'done'
      })
      .catch((error: { code: string }) => error.code)
  /** Ends the command that began first, and lets the next one begin. */
  async function endFirst(): Promise<void> {
    ends.shift()?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { limits, begun, ask, endFirst }
}

describe('commands with large results', () => {
  it('[LIM3] run at most two at a time for each user', async () => {
    const { begun, ask, endFirst } = open()
    const asked = [ask(1), ask(2), ask(3), ask(4), ask(5, randomUUID())]
    expect(begun).toEqual([1, 2, 5])
    await endFirst()
    expect(begun).toEqual([1, 2, 5, 3])
    await endFirst()
    expect(begun).toEqual([1, 2, 5, 3, 4])
    for (let n = 0; n < 3; n++) await endFirst()
    expect(await Promise.all(asked)).toEqual(['done', 'done', 'done', 'done', 'done'])
    const later = [ask(6), ask(7)]
    expect(begun.slice(5)).toEqual([6, 7])
    for (let n = 0; n < 2; n++) await endFirst()
    await Promise.all(later)
  })

  it('[LIM3] are refused after waiting when the user is in debt', async () => {
    const { limits, begun, ask, endFirst } = open()
    const asked = [ask(1), ask(2), ask(3), ask(4)]
    limits.chargeRequest(user, 150)
    await endFirst()
    await endFirst()
    expect(await Promise.all(asked)).toEqual(['done', 'done', 'rate-limited', 'rate-limited'])
    expect(begun).toEqual([1, 2])
  })

  it('[LIM3] of an API key run at most twenty at a time', async () => {
    const { begun, ask, endFirst } = open({ limitKeyRequests: 100 })
    const asked = Array.from({ length: 25 }, (_, number) => ask(number, randomUUID(), 'key_a'))
    expect(begun).toHaveLength(20)
    for (let n = 0; n < 25; n++) await endFirst()
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['done']))
  })

  it('[LIM3] do not wait when requests are not limited', async () => {
    const { begun, ask, endFirst } = open({})
    const asked = [ask(1), ask(2), ask(3)]
    expect(begun).toEqual([1, 2, 3])
    for (let n = 0; n < 3; n++) await endFirst()
    await Promise.all(asked)
  })
})
