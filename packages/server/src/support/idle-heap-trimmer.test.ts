/** Tests when V8 is set to prefer low memory, and when to prefer speed. */
import { describe, expect, it } from 'vitest'
import { type Preference, IdleHeapTrimmer, heapTrimmerLimits, setV8Flags } from './idle-heap-trimmer.ts'

function open() {
  const told: Preference[] = []
  let workDone = 0
  const collection = new IdleHeapTrimmer({ workDone: () => workDone, prefer: (preference) => told.push(preference) })
  return {
    told,
    /** Lets seconds pass, with this amount of work in each second. */
    pass(seconds: number, workEach: number): void {
      for (let second = 0; second < seconds; second++) {
        workDone += workEach
        collection.look()
      }
    },
  }
}

describe('memory settings of V8 on an idle server', () => {
  it('V8 is set to low memory once, after several idle seconds', () => {
    const { told, pass } = open()
    pass(heapTrimmerLimits.quietSeconds - 1, 0)
    expect(told).toEqual([])
    pass(10, heapTrimmerLimits.workMax)
    expect(told).toEqual(['memory'])
  })

  it('a busy second sets V8 to speed and restarts the count of idle seconds', () => {
    const { told, pass } = open()
    pass(heapTrimmerLimits.quietSeconds, 0)
    pass(1, heapTrimmerLimits.workMax + 1)
    expect(told).toEqual(['memory', 'speed'])
    pass(heapTrimmerLimits.quietSeconds - 1, 0)
    pass(1, heapTrimmerLimits.workMax + 1)
    pass(heapTrimmerLimits.quietSeconds - 1, 0)
    expect(told).toEqual(['memory', 'speed'])
    pass(1, 0)
    expect(told).toEqual(['memory', 'speed', 'memory'])
  })

  it('the V8 preference stays unset while the server is always busy', () => {
    const { told, pass } = open()
    pass(100, heapTrimmerLimits.workMax + 1)
    expect(told).toEqual([])
  })

  it('V8 accepts the flags for low memory and for speed', () => {
    expect(() => {
      setV8Flags('memory')
      setV8Flags('speed')
    }).not.toThrow()
  })
})
