import { describe, expect, it } from 'vitest'
import type { Round } from './result.ts'
import { median, pairedRatio, valuesOf } from './statistics.ts'

const round = (number: number, target: string, perSecond: number, invalid?: string): Round => ({
  round: number,
  target,
  variant: '',
  figures: { perSecond },
  invalid,
  raw: undefined,
})
const what = { target: 'ours', peer: 'theirs', variant: '', figure: 'perSecond' }

describe('the statistics of benchmark rounds', () => {
  it('a median is the middle value, or the mean of two', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 3])).toBe(2.5)
  })

  it('the ratio of two systems compares values of the same round', () => {
    const rounds = [round(1, 'ours', 10), round(1, 'theirs', 5), round(2, 'ours', 3), round(2, 'theirs', 1)]
    expect(pairedRatio(rounds, what)).toBe(2.5)
  })

  it('two systems have no ratio when one of their rounds is invalid', () => {
    const rounds = [round(1, 'ours', 10), round(1, 'theirs', 5), round(2, 'ours', 3, '1 lost'), round(2, 'theirs', 1)]
    expect(pairedRatio(rounds, what)).toBeUndefined()
    expect(valuesOf(rounds, what)).toEqual([10])
  })
})
