/**
 * Makes the Back gesture or key of a phone close the top layer (a menu, a dialog, a panel) instead
 * of leaving the page. A page learns of Back only through the browser's history. So each open layer
 * gets its own history entry, with the address of the page. Entries are added and removed in a
 * later task of the event loop. So when one layer replaces another in one step, the new layer
 * reuses the entry of the old one.
 */
import { useEffect, useRef } from 'react'

interface Layer {
  readonly close: () => void
}

/**
 * Media query for devices where Back is a gesture or a key of the system. On other devices, Back
 * always means the previous page, so layers get no history entries.
 */
const hasSystemBack = '(max-width: 639px), (pointer: coarse)'

const layers: Layer[] = []
let isListening = false
let isMatching = false

/**
 * Returns the number of history entries that belong to layers and lie above the entry of the page.
 */
export function layersInHistory(): number {
  const state: unknown = window.history.state
  if (typeof state !== 'object' || state === null || !('layers' in state)) return 0
  return typeof state.layers === 'number' ? state.layers : 0
}

function matchLater(): void {
  if (isMatching) return
  isMatching = true
  setTimeout(() => {
    isMatching = false
    const present = layersInHistory()
    if (layers.length < present) window.history.go(layers.length - present)
    for (let count = present + 1; count <= layers.length; count += 1) window.history.pushState({ layers: count }, '')
  })
}

function follow(): void {
  const present = layersInHistory()
  while (layers.length > present) layers.pop()?.close()
  // After Forward, or after Back across a reload, the history may contain an entry of a layer that
  // no longer exists. Remove the entry.
  if (layers.length < present) matchLater()
}

// After a reload with an open menu, the history entry of the menu still exists, but the menu does
// not. Remove the entry.
if (layersInHistory() > 0) {
  listen()
  matchLater()
}

function listen(): void {
  if (!isListening) window.addEventListener('popstate', follow)
  isListening = true
}

/**
 * Hook that makes Back call `close` instead of leaving the page, as long as the component is shown.
 */
export function useBackToClose(close: () => void): void {
  const newest = useRef(close)
  useEffect(() => {
    newest.current = close
  })
  useEffect(() => {
    if (!window.matchMedia(hasSystemBack).matches) return
    listen()
    const layer: Layer = { close: () => newest.current() }
    layers.push(layer)
    matchLater()
    return () => {
      const index = layers.indexOf(layer)
      // Back has already closed this layer and removed its history entry.
      if (index === -1) return
      layers.splice(index, 1)
      matchLater()
    }
  }, [])
}
