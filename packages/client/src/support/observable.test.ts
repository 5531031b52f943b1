/** Tests of observables: stable snapshots, and one call per listener for a burst of changes. */
import { describe, expect, it } from 'vitest'
import { createCell, createComputedCell, createSwitch, derive } from './observable.ts'

/** Waits until all pending microtasks have run. */
async function flush(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

describe('an observable', () => {
  it('an observable calls listeners once per microtask, however often it is set', async () => {
    const cell = createCell(0)
    const seen: number[] = []
    const unsubscribe = cell.subscribe(() => seen.push(cell.get()))
    cell.set(1)
    cell.set(2)
    expect(cell.get()).toBe(2)
    expect(seen).toEqual([])
    await flush()
    expect(seen).toEqual([2])
    cell.set(2)
    await flush()
    expect(seen).toEqual([2])
    unsubscribe()
    unsubscribe()
    cell.set(3)
    await flush()
    expect(seen).toEqual([2])
  })

  it('one function that subscribes twice to an observable counts as two listeners', async () => {
    const happened: string[] = []
    const cell = createCell(0, {
      onWatched: () => happened.push('watched'),
      onUnwatched: () => happened.push('unwatched'),
    })
    let calls = 0
    const listener = () => {
      calls += 1
    }
    const undo = [cell.subscribe(listener), cell.subscribe(listener)]
    cell.set(1)
    await flush()
    expect(calls).toBe(2)
    undo[0]?.()
    expect(happened).toEqual(['watched'])
    undo[1]?.()
    expect(happened).toEqual(['watched', 'unwatched'])
  })

  it('an observable does not call a listener that another listener just removed', async () => {
    const cell = createCell(0)
    const seen: string[] = []
    cell.subscribe(() => {
      seen.push('first')
      undo()
    })
    const undo = cell.subscribe(() => seen.push('second'))
    cell.set(1)
    await flush()
    expect(seen).toEqual(['first'])
  })

  it('a computed observable caches its value until it is invalidated', () => {
    let computed = 0
    const cell = createComputedCell(() => {
      computed += 1
      return { computed }
    })
    expect(cell.get()).toBe(cell.get())
    cell.invalidate()
    expect(cell.get()).toEqual({ computed: 2 })
  })

  it('a derived observable computes its value once per change of its source', async () => {
    const one = createCell([1])
    const two = createCell([2])
    const source = createSwitch<readonly number[]>([])
    const doubled = derive(source, (numbers) => numbers.map((number) => number * 2))
    const seen: (readonly number[])[] = []
    doubled.subscribe(() => seen.push(doubled.get()))
    expect(doubled.get()).toEqual([])
    source.point(one)
    await flush()
    expect(doubled.get()).toBe(doubled.get())
    source.point(two)
    one.set([100])
    await flush()
    two.set([3])
    await flush()
    source.point(undefined)
    await flush()
    expect(seen).toEqual([[2], [4], [6], []])
  })
})
