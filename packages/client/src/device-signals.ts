/**
 * What the device says about itself: network gone and back, and waking up. A socket that lived through a sleep may be
 * dead without knowing it, so each of these is a reason to resume at once.
 */
import type { Clock } from './clock.ts'

/** A tab that was hidden for less is not asked to resume when it is shown again. */
export const hiddenMinMs = 30_000
/** How often the clock is looked at, and by how much it must have jumped to mean sleep. */
export const clockLookMs = 5_000
export const clockJumpMs = 15_000

export interface DeviceSignals {
  readonly isOnline: () => boolean
  readonly watch: (listener: (signal: DeviceSignal) => void) => () => void
}

export type DeviceSignal = 'online' | 'offline' | 'wake'

/** Signals of the browser where there is one, and of the clock everywhere. */
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
        // Hidden tabs are given a timer once a minute: late, but not asleep.
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
