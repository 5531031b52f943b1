/** Tests sets of items by key. */
import { describe, expect, it } from 'vitest'
import { Groups } from './groups.ts'

describe('groups of items by key', () => {
  const [one, two, three] = [{ n: 1 }, { n: 2 }, { n: 3 }]

  it('a group grows from one item to several and shrinks to none', () => {
    const groups = new Groups<string, object>()
    expect([...groups.of('a')]).toEqual([])
    groups.add('a', one)
    groups.add('a', one)
    expect([...groups.of('a')]).toEqual([one])
    groups.add('a', two)
    groups.add('a', three)
    groups.add('a', three)
    expect([...groups.of('a')]).toEqual([one, two, three])
    expect(groups.delete('a', two)).toBe(true)
    expect(groups.delete('a', two)).toBe(false)
    expect(groups.delete('a', one)).toBe(true)
    expect([...groups.of('a')]).toEqual([three])
    expect(groups.delete('a', one)).toBe(false)
    expect([...groups.keys()]).toEqual(['a'])
    expect(groups.delete('a', three)).toBe(true)
    expect(groups.has('a')).toBe(false)
    expect(groups.delete('a', three)).toBe(false)
  })

  it('deleting a missing item from a group with one item returns false', () => {
    const groups = new Groups<string, object>()
    groups.add('a', one)
    expect(groups.delete('a', two)).toBe(false)
    expect(groups.of('a').size).toBe(1)
  })

  it('iteration skips items that were deleted during it', () => {
    const groups = new Groups<string, object>()
    for (const each of [one, two, three]) groups.add('a', each)
    const seen: object[] = []
    for (const each of groups.of('a')) {
      seen.push(each)
      groups.delete('a', one)
      groups.delete('a', two)
    }
    expect(seen).toEqual([one, three])
  })
})
