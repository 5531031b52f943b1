/**
 * Setting for the Enter key in the composer: Enter sends the message, or starts a new line. On
 * touch devices it starts a new line by default, because their keyboards have no Shift-Enter.
 */
import { useSyncExternalStore } from 'react'

const storageKey = 'chorus.enter'
const listeners = new Set<() => void>()
let sends = read()

function read(): boolean {
  try {
    const stored = localStorage.getItem(storageKey)
    if (stored !== null) return stored === 'send'
  } catch {
    // The browser may forbid access to its storage: use the default.
  }
  return !window.matchMedia('(pointer: coarse)').matches
}

export function setEnterSends(next: boolean): void {
  sends = next
  try {
    localStorage.setItem(storageKey, next ? 'send' : 'newline')
  } catch {
    // The browser cannot store the setting, so the setting lasts only as long as the page.
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
