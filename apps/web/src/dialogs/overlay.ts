/**
 * Stores which dialog is open. Only one dialog is open at a time: opening a second one closes the
 * first.
 */
export type Overlay = 'none' | 'find' | 'new-conversation' | 'browse-channels' | 'keyboard'

type Listener = () => void
const listeners = new Set<Listener>()
let current: Overlay = 'none'

export function openOverlay(overlay: Overlay): void {
  current = overlay
  for (const listener of listeners) listener()
}

export const overlayStore = {
  get: (): Overlay => current,
  subscribe: (listener: Listener): (() => void) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  },
}
