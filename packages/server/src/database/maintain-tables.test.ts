import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { maintenanceTimings, maintainTables } from './maintain-tables.ts'
import { openTestDatabase, type TestDatabase } from './testing/open-test-database.ts'

describe("the maintenance of the embedded engine's tables", () => {
  let opened: TestDatabase
  beforeAll(async () => {
    opened = await openTestDatabase('embedded')
  })
  afterAll(() => opened.close())

  const analysed = async (): Promise<number> => {
    const [row] = await opened.database.query<{ n: number }>({
      text: `select count(*)::int as n from pg_class where relname in ('users', 'settings') and reltuples >= 0`,
    })
    return row?.n ?? 0
  }

  it('updates planner statistics after a minute and schedules the next run', async () => {
    const clock = new ManualClock()
    const stop = maintainTables(opened.database, clock, (problem) => expect.fail(String(problem)))
    expect(await analysed()).toBe(0)
    clock.advance(maintenanceTimings.firstAfterMs)
    await vi.waitFor(async () => expect(await analysed()).toBe(1))
    await vi.waitFor(() => expect(clock.pendingCount).toBe(1))
    stop()
    expect(clock.pendingCount).toBe(0)
  })

  it('reports a failed maintenance of tables and retries it later', async () => {
    const clock = new ManualClock()
    const problems: unknown[] = []
    const broken = { ...opened.database, engine: 'embedded' as const, script: () => Promise.reject(new Error('no')) }
    const stop = maintainTables(broken, clock, (problem) => problems.push(problem))
    clock.advance(maintenanceTimings.firstAfterMs)
    await vi.waitFor(() => expect(clock.pendingCount).toBe(1))
    clock.advance(maintenanceTimings.everyMs)
    await vi.waitFor(() => expect(problems).toHaveLength(2))
    stop()
  })
})
