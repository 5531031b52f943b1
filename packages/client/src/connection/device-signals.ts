/**
 * Signals from the device: network lost, network back, and waking from sleep. A connection that was
 * open during sleep may be dead although it reports no error, so the client resumes on a new
 * connection after each wake or network change.
 */
import type { Clock } from '../support/clock.ts'

/** Minimum time a tab must have been hidden. Showing it again then counts as waking from sleep. */
export const hiddenMinMs = 30_000
/**
 * Interval between checks of the wall clock (`clockLookMs`), and the delay of a check that counts
 * as sleep (`clockJumpMs`).
 */
export const clockLookMs = 5_000
export const clockJumpMs = 15_000

export interface DeviceSignals {
  readonly isOnline: () => boolean
  readonly watch: (listener: (signal: DeviceSignal) => void) => () => void
}

export type DeviceSignal = 'online' | 'offline' | 'wake'

/**
 * Creates the device signals: from browser events where they exist, and from jumps of the clock on
 * all platforms.
 */
export function createDeviceSignals(clock: Clock): DeviceSignals {
  const page = typeof document === 'undefined' ? undefined : document
  const target = typeof window === 'undefined' ? undefined : window
  return {
    isOnline: () => typeof navigator === 'undefined' || navigator.onLine !== false,
    watch: (listener) => {
      const undo: (() => void)[] = []
      const listen = (on: EventTarget | undefined, name: string, run: () => void): void => {
        if (on === undefined) return
        on.addEventListener(name, run)
        undo.push(() => on.removeEventListener(name, run))
      }
      listen(target, 'online', () => listener('online'))
      listen(target, 'offline', () => listener('offline'))
      let hiddenAtMs: number | undefined
      listen(page, 'visibilitychange', () => {
        if (page?.visibilityState === 'hidden') {
          hiddenAtMs = clock.wallNow()
          return
        }
        const hiddenMs = hiddenAtMs === undefined ? 0 : clock.wallNow() - hiddenAtMs
        hiddenAtMs = undefined
        if (hiddenMs >= hiddenMinMs) listener('wake')
      })

      let lookedAtMs = clock.wallNow()
      let cancelLook: () => void
      const look = (): void => {
        const lateMs = clock.wallNow() - lookedAtMs - clockLookMs
        lookedAtMs = clock.wallNow()
        cancelLook = clock.after(clockLookMs, look)
        // Browsers run timers of hidden tabs only once a minute, so a late timer there does not
        // mean sleep.
        if (lateMs >= clockJumpMs && page?.visibilityState !== 'hidden') listener('wake')
      }
      cancelLook = clock.after(clockLookMs, look)
      return () => {
        cancelLook()
        for (const one of undo) one()
      }
    },
  }
}
