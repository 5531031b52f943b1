import { expect, it } from 'vitest'
import { Metrics } from './metrics.ts'

it('every metric is described once, with its unit in its name', async () => {
  const metrics = new Metrics()
  const described = await metrics.describe()
  expect(described.length).toBeGreaterThan(15)
  for (const { name, help } of described) {
    expect(name).toMatch(/^chorus_[a-z_]+$/)
    expect(help).toMatch(/\.$/)
  }
  metrics.stop()
})

it('two servers in one process have separate metrics', async () => {
  const [one, two] = [new Metrics(), new Metrics()]
  one.sends.inc({ outcome: 'stored' })
  expect(await one.render()).toContain('chorus_sends_total{outcome="stored"} 1')
  expect(await two.render()).not.toContain('outcome="stored"')
  expect(await one.render()).toMatch(/chorus_event_loop_lag_seconds\{quantile="0.99"\} [\d.e-]+/)
  one.stop()
  two.stop()
})
