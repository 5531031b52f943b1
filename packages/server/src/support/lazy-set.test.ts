/** Tests that lazily allocated sets and maps behave like the built-in ones. */
import { describe, expect, it } from 'vitest'
import { LazyMap, LazySet } from './lazy-set.ts'

describe('a lazily allocated set', () => {
  it('a lazy set counts, iterates, deletes and clears like a Set', () => {
    const set = new LazySet<string>()
    expect([...set]).toEqual([])
    expect(set.delete('a')).toBe(false)
    for (const item of ['a', 'b', 'a']) set.add(item)
    expect([set.size, ...set]).toEqual([2, 'a', 'b'])
    expect([set.delete('a'), set.delete('a'), set.delete('b'), set.size]).toEqual([true, false, true, 0])
    set.add('c')
    set.clear()
    expect([set.size, ...set]).toEqual([0])
  })

  it('a lazy set allows additions and deletions during iteration', () => {
    const set = new LazySet<number>()
    for (const item of [1, 2, 3]) set.add(item)
    const seen: number[] = []
    for (const item of set) {
      seen.push(item)
      set.delete(item)
      if (item === 2) set.add(4)
    }
    expect(seen).toEqual([1, 2, 3, 4])
    expect(set.size).toBe(0)
  })
})

describe('a lazily allocated map', () => {
  it('a lazy map finds, replaces, deletes and clears like a Map', () => {
    const map = new LazyMap<string, number>()
    expect([map.size, map.has('a'), map.get('a'), map.delete('a'), ...map.keys(), ...map]).toEqual([
      0,
      false,
      undefined,
      false,
    ])
    map.set('a', 1)
    map.set('a', 2)
    map.set('b', 3)
    expect([...map]).toEqual([
      ['a', 2],
      ['b', 3],
    ])
    expect([...map.keys()]).toEqual(['a', 'b'])
    expect([map.delete('a'), map.get('a'), map.has('b'), map.size]).toEqual([true, undefined, true, 1])
    map.clear()
    expect([map.size, ...map]).toEqual([0])
  })
})
