/** Tests when the breaker lets questions through, with a manual clock. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { breakerLimits, CircuitBreaker } from './circuit-breaker.ts'

const { failuresMax, pauseMinMs, pauseMaxMs } = breakerLimits

function open() {
  const clock = new ManualClock()
  const states: string[] = []
  const breaker = new CircuitBreaker({ clock, onChange: (state) => states.push(state) })
  const fail = (times: number): void => {
    for (let count = 0; count < times; count++) {
      expect(breaker.admit()).toBe(true)
      breaker.fail()
    }
  }
  return { clock, states, breaker, fail }
}

describe('the circuit breaker', () => {
  it('[HOOK1] opens after failures in a row only', () => {
    const { breaker, states, fail } = open()
    fail(failuresMax - 1)
    breaker.succeed()
    fail(failuresMax - 1)
    expect(breaker.admit()).toBe(true)
    breaker.fail()
    expect(breaker.admit()).toBe(false)
    expect(states).toEqual(['open'])
  })

  it('[HOOK1] lets one trial through after the pause', () => {
    const { clock, breaker, states, fail } = open()
    fail(failuresMax)
    clock.advance(pauseMinMs - 1)
    expect(breaker.admit()).toBe(false)
    clock.advance(1)
    expect([breaker.admit(), breaker.admit()]).toEqual([true, false])
    breaker.succeed()
    expect([breaker.admit(), breaker.admit()]).toEqual([true, true])
    expect(states).toEqual(['open', 'closed'])
  })

  it('[HOOK1] doubles the pause after each failed trial, up to a limit', () => {
    const { clock, breaker, fail } = open()
    fail(failuresMax)
    for (const pauseMs of [1, 2, 4, 8, 16, 30, 30].map((seconds) => 1_000 * seconds)) {
      expect(breaker.closedForMs).toBe(Math.min(pauseMs, pauseMaxMs))
      clock.advance(pauseMs)
      fail(1)
    }
  })

  it('[HOOK1] keeps its pause when older questions fail', () => {
    const { breaker, fail } = open()
    fail(failuresMax)
    for (let count = 0; count < 60; count++) breaker.fail()
    expect(breaker.closedForMs).toBe(pauseMinMs)
  })
})
