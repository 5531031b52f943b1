import { describe, expect, it } from 'vitest'
import { HealthProbe } from './health-probe.ts'

describe('HealthProbe', () => {
  it('[LIM1] asks once however many want to know, and says no when that takes too long', async () => {
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
    // It still hangs, and nobody asks beside it.
    const late = probe.isHealthy()
    expect(asked).toBe(1)
    answer(true)
    expect(await late).toBe(true)
    expect(await probe.isHealthy()).toBe(true)
    expect(asked).toBe(1)
  })

  it('a probe that fails is a no, and the next one asks again', async () => {
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
