/**
 * Tests of the device signals: network lost or back, tab hidden or shown, and jumps of the clock
 * after sleep.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { clockJumpMs, clockLookMs, createDeviceSignals, type DeviceSignal, hiddenMinMs } from './device-signals.ts'
import { ManualClock } from '../testing/manual-clock.ts'

afterEach(() => {
  vi.unstubAllGlobals()
})

function setUp() {
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  const target = new EventTarget()
  vi.stubGlobal('document', page)
  vi.stubGlobal('window', target)
  vi.stubGlobal('navigator', { onLine: false })
  const clock = new ManualClock()
  const signals = createDeviceSignals(clock)
  const heard: DeviceSignal[] = []
  const unwatch = signals.watch((signal) => heard.push(signal))
  const show = (state: 'visible' | 'hidden') => {
    page.visibilityState = state
    page.dispatchEvent(new Event('visibilitychange'))
  }
  return { clock, target, heard, unwatch, show, signals }
}

describe('the device signals', () => {
  it('device signals report a lost network and its return', () => {
    const { target, heard, unwatch, signals } = setUp()
    expect(signals.isOnline()).toBe(false)
    target.dispatchEvent(new Event('offline'))
    target.dispatchEvent(new Event('online'))
    unwatch()
    target.dispatchEvent(new Event('offline'))
    expect(heard).toEqual(['offline', 'online'])
  })

  it('device signals report `wake` when a tab was hidden for 30 s', async () => {
    const { clock, heard, show } = setUp()
    show('hidden')
    await clock.advance(hiddenMinMs - 1)
    show('visible')
    expect(heard).toEqual([])
    show('hidden')
    await clock.advance(hiddenMinMs)
    show('visible')
    expect(heard).toEqual(['wake'])
  })

  it('device signals report `wake` after a clock jump, but not in hidden tabs', async () => {
    const { clock, heard, show, unwatch } = setUp()
    await clock.advance(20 * clockLookMs)
    expect(heard).toEqual([])
    clock.jump(clockJumpMs)
    await clock.advance(clockLookMs)
    expect(heard).toEqual(['wake'])
    show('hidden')
    clock.jump(clockJumpMs)
    await clock.advance(clockLookMs)
    expect(heard).toEqual(['wake'])
    unwatch()
    expect(clock.timers).toBe(0)
  })

  it('outside browsers, the device counts as online', () => {
    vi.stubGlobal('navigator', undefined)
    expect(createDeviceSignals(new ManualClock()).isOnline()).toBe(true)
  })
})
