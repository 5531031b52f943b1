/** When V8 is told to prefer memory, and when speed again. */
import { describe, expect, it } from 'vitest'
import { type Preference, QuietCollection, quietBounds, tellV8 } from './quiet-collection.ts'

function open() {
  const told: Preference[] = []
  let workDone = 0
  const collection = new QuietCollection({ workDone: () => workDone, prefer: (preference) => told.push(preference) })
  return {
    told,
    /** Seconds in which so much was done. */
    pass(seconds: number, workEach: number): void {
      for (let second = 0; second < seconds; second++) {
        workDone += workEach
        collection.look()
      }
    },
  }
}

describe('a server with little to do', () => {
  it('prefers memory after some quiet seconds, and is told so once', () => {
    const { told, pass } = open()
    pass(quietBounds.quietSeconds - 1, 0)
    expect(told).toEqual([])
    pass(10, quietBounds.workMax)
    expect(told).toEqual(['memory'])
  })

  it('prefers speed from the first busy second on, and memory only after as many quiet ones as before', () => {
    const { told, pass } = open()
    pass(quietBounds.quietSeconds, 0)
    pass(1, quietBounds.workMax + 1)
    expect(told).toEqual(['memory', 'speed'])
    pass(quietBounds.quietSeconds - 1, 0)
    pass(1, quietBounds.workMax + 1)
    pass(quietBounds.quietSeconds - 1, 0)
    expect(told).toEqual(['memory', 'speed'])
    pass(1, 0)
    expect(told).toEqual(['memory', 'speed', 'memory'])
  })

  it('says nothing while it is busy', () => {
    const { told, pass } = open()
    pass(100, quietBounds.workMax + 1)
    expect(told).toEqual([])
  })

  it('is understood by V8', () => {
    expect(() => {
      tellV8('memory')
      tellV8('speed')
    }).not.toThrow()
  })
})
