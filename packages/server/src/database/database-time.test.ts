import { describe, expect, it, vi } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import type { Database } from './database.ts'
import { DatabaseTime, databaseTimeTimings } from './database-time.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function open() {
  const clock = new ManualClock()
  const problems: unknown[] = []
  const told: (string | Error)[] = []
  const database = {
    query: async () => {
      const now = told.shift() ?? new Error('not asked')
      if (now instanceof Error) throw now
      return [{ now }]
    },
  } as unknown as Database
  return {
    clock,
    problems,
    told,
    start: () => DatabaseTime.start(database, clock, (problem) => problems.push(problem)),
  }
}

describe("the database's time on a server", () => {
  it("the database's time follows the monotonic clock and resynchronises each minute", async () => {
    const { clock, told, start } = open()
    told.push('2031-05-05T00:00:00.000Z')
    const time = await start()
    vi.useFakeTimers({ now: 0, toFake: ['Date'] })
    try {
      clock.advance(1_500)
      expect(time.now().toISOString()).toBe('2031-05-05T00:00:01.500Z')
      vi.setSystemTime('2040-01-01')
      expect(time.now().toISOString()).toBe('2031-05-05T00:00:01.500Z')
    } finally {
      vi.useRealTimers()
    }
    told.push('2031-05-05T00:01:00.250Z')
    clock.advance(databaseTimeTimings.measureEveryMs - 1_500)
    await turn()
    expect(time.now().toISOString()).toBe('2031-05-05T00:01:00.250Z')
    time.stop()
    expect(clock.pendingCount).toBe(0)
  })

  it('keeps the last clock offset while the database is unavailable, and retries', async () => {
    const { clock, problems, told, start } = open()
    told.push('2031-05-05T00:00:00.000Z', new Error('away'), '2031-05-05T00:01:05.000Z')
    const time = await start()
    clock.advance(databaseTimeTimings.measureEveryMs)
    await turn()
    expect(problems).toHaveLength(1)
    expect(time.now().toISOString()).toBe('2031-05-05T00:01:00.000Z')
    clock.advance(databaseTimeTimings.retryMs)
    await turn()
    expect(told).toEqual([])
    time.stop()
  })
})
