/** Tests what makes a server not ready, what only makes it degraded, and the metrics for both. */
import { expect, it } from 'vitest'
import { Metrics } from '../support/metrics.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { HealthReport } from './health-report.ts'

it('a server without its database or while stopping is not ready; other failures degrade it', async () => {
  const metrics = new Metrics()
  const clock = new ManualClock()
  const state = {
    database: true,
    redis: undefined as string | undefined,
    bus: undefined as string | undefined,
    stopping: false,
  }
  const report = new HealthReport({
    metrics,
    clock,
    hasDatabase: () => Promise.resolve(state.database),
    redisProblem: () => state.redis,
    busProblem: () => state.bus,
    isStopping: () => state.stopping,
    sweepAgeMs: () => Number.POSITIVE_INFINITY,
    oldestTransactionMs: () => Promise.resolve(3_000),
  })
  try {
    expect(await report.ask()).toEqual({ ready: true, degraded: [] })
    state.redis = 'Redis is unavailable (closed)'
    state.bus = state.redis
    expect(await report.ask()).toEqual({ ready: true, degraded: ['Redis is unavailable (closed)'] })
    state.bus = 'the subscription does not answer'
    state.stopping = true
    expect(await report.ask()).toEqual({
      ready: false,
      degraded: ['the subscription does not answer', 'Redis is unavailable (closed)', 'stopping'],
    })
    state.stopping = false
    state.database = false
    expect((await report.ask()).ready).toBe(false)
    const text = await metrics.render()
    for (const line of ['chorus_ready 0', 'chorus_part_up{part="redis"} 0', 'chorus_part_up{part="database"} 0'])
      expect(text).toContain(line)

    state.database = true
    report.start()
    await new Promise((resolve) => setImmediate(resolve))
    const measured = await metrics.render()
    for (const line of ['chorus_oldest_transaction_seconds 3', 'chorus_sweep_age_seconds 1000000', 'chorus_ready 1'])
      expect(measured).toContain(line)
    report.stop()
    expect(clock.pendingCount).toBe(0)
  } finally {
    metrics.stop()
  }
})
