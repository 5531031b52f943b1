import { describe, expect, it } from 'vitest'
import { extraUse } from './bystander-watch.ts'

const use = (atMs: number, serverUs: number) => ({ atMs, serverUs, databaseUs: 0 })

describe('the extra processor time of idle servers', () => {
  it('the extra processor time excludes what the servers use in equally long silence', () => {
    // In the silent period, the servers use 10 µs per millisecond for 100 ms. Under load, they use
    // 3 500 µs in 200 ms.
    expect(extraUse([use(0, 0), use(100, 1_000), use(300, 4_500)], 'serverUs')).toBe(1_500)
  })

  it('extra processor time is never negative', () => {
    expect(extraUse([use(0, 0), use(100, 1_000), use(200, 1_500)], 'serverUs')).toBe(0)
  })
})
