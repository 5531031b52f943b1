/** What the device says: network, visibility, and a clock that jumps. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { clockJumpMs, clockLookMs, createDeviceSignals, type DeviceSignal, hiddenMinMs } from './device-signals.ts'
import { ManualClock } from './testing/manual-clock.ts'

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

describe('the signals of a device', () => {
  it('pass on the network going and coming', () => {
    const { target, heard, unwatch, signals } = setUp()
    expect(signals.isOnline()).toBe(false)
    target.dispatchEvent(new Event('offline'))
    target.dispatchEvent(new Event('online'))
    unwatch()
    target.dispatchEvent(new Event('offline'))
    expect(heard).toEqual(['offline', 'online'])
  })

  it('wake when a tab is shown after it was hidden for long, and not after a glance elsewhere', async () => {
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

  it('wake when the clock has jumped, as after a sleep; a late timer of a hidden tab is no sleep', async () => {
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

  it('are those of a machine with a network where there is no browser', () => {
    vi.stubGlobal('navigator', undefined)
    expect(createDeviceSignals(new ManualClock()).isOnline()).toBe(true)
  })
})
