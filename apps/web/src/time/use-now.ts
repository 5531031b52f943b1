/**
 * Hook that returns the present time, from one clock for the whole page. Relative times refresh
 * every 30 s, and at once when the page becomes visible again.
 */
import { useSyncExternalStore } from 'react'

const refreshMs = 30_000
const listeners = new Set<() => void>()
let now = new Date()
let timer: ReturnType<typeof setInterval> | undefined

function tick(): void {
  now = new Date()
  for (const listener of listeners) listener()
}

function tickWhenVisible(): void {
  if (document.visibilityState === 'visible') tick()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  if (timer === undefined) {
    timer = setInterval(tick, refreshMs)
    document.addEventListener('visibilitychange', tickWhenVisible)
  }
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
    document.removeEventListener('visibilitychange', tickWhenVisible)
  }
}

export function useNow(): Date {
  return useSyncExternalStore(subscribe, () => now)
}
