/** What Enter does while writing: sends, or breaks the line. A phone's keyboard has no Shift-Enter, so there it breaks the line at first. */
import { useSyncExternalStore } from 'react'

const storageKey = 'chorus.enter'
const listeners = new Set<() => void>()
let sends = read()

function read(): boolean {
  try {
    const stored = localStorage.getItem(storageKey)
    if (stored !== null) return stored === 'send'
  } catch {
    // Storage may be forbidden.
  }
  return !window.matchMedia('(pointer: coarse)').matches
}

export function setEnterSends(next: boolean): void {
  sends = next
  try {
    localStorage.setItem(storageKey, next ? 'send' : 'newline')
  } catch {
    // The choice then lasts as long as the page.
  }
  for (const listener of listeners) listener()
}

export function useEnterSends(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => sends,
  )
}
