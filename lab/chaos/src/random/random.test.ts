import { describe, expect, it } from 'vitest'
import { Random } from './random.ts'

describe('the random numbers of a run', () => {
  it('the same seed and branch name give the same random values', () => {
    const one = new Random('a')
    const other = new Random('a')
    other.branch('b').next()
    expect(Array.from({ length: 20 }, () => one.next())).toEqual(Array.from({ length: 20 }, () => other.next()))
    expect(one.branch('b').next()).toBe(new Random('a').branch('b').next())
    expect(one.branch('b').next()).not.toBe(one.branch('c').next())
  })

  it('random integers cover their whole range about evenly', () => {
    const random = new Random('even')
    const counts = new Map<number, number>()
    for (let index = 0; index < 10_000; index += 1) {
      const drawn = random.int(1, 5)
      counts.set(drawn, (counts.get(drawn) ?? 0) + 1)
    }
    expect([...counts.keys()].sort()).toEqual([1, 2, 3, 4, 5])
    for (const count of counts.values()) expect(count).toBeGreaterThan(1_700)
    expect(random.shuffle([1, 2, 3, 4]).sort()).toEqual([1, 2, 3, 4])
    expect(
      random.pickWeighted([
        ['never', 0],
        ['always', 1],
      ] as const),
    ).toBe('always')
  })
})
