import { describe, expect, it } from 'vitest'
import { LatencyHistogram } from './latency-histogram.ts'

describe('the latency histogram', () => {
  it('percentiles of the latency histogram are at most 1.6 % too high', () => {
    const histogram = new LatencyHistogram()
    const values: number[] = []
    for (let index = 1; index <= 100_000; index++) {
      const latencyMs = (index * index) / 1_000_000
      values.push(latencyMs)
      histogram.record(latencyMs)
    }
    for (const quantile of [0.01, 0.1, 0.5, 0.9, 0.99, 0.999]) {
      const exact = values[Math.ceil(values.length * quantile) - 1] ?? 0
      const found = histogram.percentileMs(quantile)
      expect(found).toBeGreaterThanOrEqual(exact - 0.001)
      expect(found).toBeLessThanOrEqual(exact * 1.016 + 0.001)
    }
    expect(histogram.summary().maxMs).toBe(10_000)
  })

  it('the latency histogram counts out-of-range values, and returns 0 when it is empty', () => {
    const histogram = new LatencyHistogram()
    expect(histogram.percentileMs(0.99)).toBe(0)
    histogram.record(-1)
    histogram.record(10 * 3_600_000)
    expect(histogram.summary()).toMatchObject({ count: 2, p50Ms: 0, maxMs: 36_000_000 })
  })
})
