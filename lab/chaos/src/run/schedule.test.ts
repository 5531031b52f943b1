/**
 * Checks the schedule of faults that is drawn from a seed: the same seed gives the same faults and
 * targets, another seed gives different ones.
 */
import { describe, expect, it } from 'vitest'
import { faults } from '../faults/catalogue.ts'
import { Random } from '../random/random.ts'
import { describeScheduled, makeSchedule } from './schedule.ts'

const shape = { servers: 3, fronts: 4, isLong: false } as const

function draw(seed: number, count: number, isLong = false): string[] {
  const random = new Random(`chaos ${seed}`).branch('schedule')
  return makeSchedule(random, faults, count, { ...shape, isLong }).map(
    (scheduled) => `${describeScheduled(scheduled)} after ${scheduled.afterMs} share ${scheduled.drawn.share}`,
  )
}

describe('the schedule of faults', () => {
  it('the same seed gives the same faults in a short and a long schedule', () => {
    expect(draw(1, 100)).toEqual(draw(1, 100))
    expect(draw(1, 20)).toEqual(draw(1, 100).slice(0, 20))
    expect(draw(2, 20)).not.toEqual(draw(1, 20))
  })

  it('every fault is scheduled eventually, slow faults only in long runs', () => {
    const kindsOf = (lines: string[]): Set<string> => new Set(lines.map((line) => line.slice(5).split(':')[0] ?? ''))
    const short = kindsOf(draw(3, 1_000))
    const long = kindsOf(draw(3, 1_000, true))
    const common = faults.filter(({ weight }) => weight > 0)
    expect(short.size).toBe(common.length)
    expect(long.size).toBe(faults.length)
  })

  it('scheduled faults use only existing servers and proxies', () => {
    const random = new Random('targets')
    for (const { drawn } of makeSchedule(random, faults, 2_000, { ...shape, isLong: true })) {
      expect(drawn.server).toBeGreaterThanOrEqual(0)
      expect(drawn.server).toBeLessThan(shape.fronts)
      expect(drawn.share).toBeLessThan(1)
    }
  })

  it('every fault has a maximum recovery time and a unique name', () => {
    expect(new Set(faults.map(({ name }) => name)).size).toBe(faults.length)
    for (const { boundMs } of faults) expect(boundMs).toBeGreaterThan(0)
  })
})
