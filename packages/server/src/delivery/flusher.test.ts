/**
 * Tests when buffered output is written: at once on an idle server, in slices when there is much,
 * and despite failures.
 */
import { describe, expect, it } from 'vitest'
import { type Flushable, Flusher, flusherTimings } from './flusher.ts'

describe('the flusher', () => {
  it('flushes an object once, however often its flush was requested', async () => {
    const flusher = new Flusher(() => 0)
    let flushes = 0
    const flushable: Flushable = {
      *flush() {
        flushes++
      },
    }
    for (let index = 0; index < 10; index++) flusher.schedule(flushable)
    await flusher.whenIdle()
    expect(flushes).toBe(1)
    await flusher.whenIdle()
  })

  it('a long flush yields to the event loop and accepts requests during the pause', async () => {
    let nowMs = 0
    const flusher = new Flusher(() => nowMs)
    const order: string[] = []
    const late: Flushable = {
      *flush() {
        order.push('late')
      },
    }
    const large: Flushable = {
      *flush() {
        for (let index = 0; index < 3; index++) {
          order.push(`slice ${index}`)
          nowMs += flusherTimings.sliceMaxMs
          yield
        }
      },
    }
    flusher.schedule(large)
    setImmediate(() => setImmediate(() => order.push('somebody else')))
    setImmediate(() => flusher.schedule(late))
    await flusher.whenIdle()
    expect(order.indexOf('somebody else')).toBeLessThan(order.indexOf('slice 2'))
    expect(order.at(-1)).toBe('late')
  })

  it('a failed flush of one object does not stop the flush of others', async () => {
    const problems: unknown[] = []
    const flusher = new Flusher(
      () => 0,
      (problem) => problems.push(problem),
    )
    let flushed = 0
    const broken: Flushable = {
      // biome-ignore lint/correctness/useYield: it never comes to it
      *flush() {
        throw new Error('broken')
      },
    }
    const fine: Flushable = {
      *flush() {
        flushed++
      },
    }
    flusher.schedule(broken)
    flusher.schedule(fine)
    await flusher.whenIdle()
    flusher.schedule(fine)
    await flusher.whenIdle()
    expect(flushed).toBe(2)
    expect(problems).toHaveLength(1)
  })
})
