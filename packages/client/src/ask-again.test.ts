/** What was certainly not done is asked once more; anything else is told. */
import { ChorusError, type ErrorCode } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { askAgain, askAgainMaxMs } from './ask-again.ts'
import { ManualClock } from './testing/manual-clock.ts'

function failing(times: number, code: ErrorCode, retryAfterMs?: number) {
  let asked = 0
  return {
    ask: () => {
      asked += 1
      const options = retryAfterMs === undefined ? {} : { retryAfterMs }
      return asked <= times
        ? Promise.reject(new ChorusError(code, 'unable to ask; this is a test', options))
        : Promise.resolve('done')
    },
    count: () => asked,
  }
}

describe('asking again', () => {
  it('[ACK2] repeats what was certainly not done, once, as late as the server says', async () => {
    const clock = new ManualClock()
    const stopping = failing(1, 'unavailable', 1_000)
    const answer = askAgain(stopping.ask, clock)
    await clock.advance(999)
    expect(stopping.count()).toBe(1)
    await clock.advance(1)
    expect(await answer).toBe('done')

    const away = failing(5, 'unavailable')
    const refused = askAgain(away.ask, clock).catch((error: unknown) => error)
    await clock.advance(60_000)
    expect(await refused).toMatchObject({ code: 'unavailable' })
    expect(away.count()).toBe(2)
    expect(clock.timers).toBe(0)
  })

  it('[ACK2] repeats nothing that may have been done, was refused for good, or is wanted much later', async () => {
    const clock = new ManualClock()
    for (const [code, retryAfterMs] of [
      ['unknown'],
      ['forbidden'],
      ['rate-limited', 100],
      ['unavailable', askAgainMaxMs + 1],
    ] as const) {
      const { ask, count } = failing(1, code, retryAfterMs)
      await expect(askAgain(ask, clock)).rejects.toMatchObject({ code })
      expect(count()).toBe(1)
    }
  })
})
