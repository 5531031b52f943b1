/** Tests the trace of recent changes: which entries it finds, and how far back it reaches. */
import { describe, expect, it } from 'vitest'
import { DeliveryTrace } from './delivery-trace.ts'

describe('the delivery trace', () => {
  it('returns the trace entries of one change in order of time', () => {
    let nowMs = 0
    const trail = new DeliveryTrace(() => ++nowMs)
    trail.note('published', 'a', 1, 3)
    trail.note('delivered', 'b', 2, 2, 9)
    trail.note('delivered', 'a', 1, 2, 5)
    trail.note('delivered', 'a', 3, 3, 4)
    expect(trail.find('a', 3)).toEqual([
      { what: 'published', atMs: 1, connections: 0 },
      { what: 'delivered', atMs: 4, connections: 4 },
    ])
    expect(trail.find('a', 4)).toEqual([])
    expect(trail.knownSinceMs).toBeUndefined()
  })

  it('[LIM1] keeps a fixed number of trace entries and reports the oldest time', () => {
    let nowMs = 0
    const trail = new DeliveryTrace(() => ++nowMs)
    for (let seq = 1; seq <= 20_000; seq++) trail.note('received', 'a', seq, seq)
    expect(trail.find('a', 1)).toEqual([])
    expect(trail.find('a', 20_000)).toEqual([{ what: 'received', atMs: 20_000, connections: 0 }])
    expect(trail.knownSinceMs).toBe(20_000 - 16_384 + 1)
  })
})
