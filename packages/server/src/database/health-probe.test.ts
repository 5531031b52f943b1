import { describe, expect, it } from 'vitest'
import { HealthProbe } from './health-probe.ts'

describe('the health probe of the database', () => {
  it('[LIM1] shares one probe among all callers, and a slow probe counts as unhealthy', async () => {
    let asked = 0
    let answer: (isHealthy: boolean) => void = () => undefined
    const probe = new HealthProbe(() => {
      asked++
      return new Promise((resolve) => {
        answer = resolve
      })
    })
    const all = await Promise.all(Array.from({ length: 50 }, () => probe.isHealthy()))
    expect(all).toEqual(all.map(() => false))
    // The first probe still hangs, and no second one starts.
    const late = probe.isHealthy()
    expect(asked).toBe(1)
    answer(true)
    expect(await late).toBe(true)
    expect(await probe.isHealthy()).toBe(true)
    expect(asked).toBe(1)
  })

  it('reports a failed probe as unhealthy and probes again later', async () => {
    let asked = 0
    const probe = new HealthProbe(async () => {
      asked++
      throw new Error('away')
    })
    expect(await probe.isHealthy()).toBe(false)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await probe.isHealthy()).toBe(false)
    expect(asked).toBe(2)
  })
})
