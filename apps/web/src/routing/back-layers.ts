/**
 * Makes the system's Back on a phone close the top layer (a menu, a dialog, a panel) instead of
 * leaving the page. Pages learn of Back only through the browser's history, so each open layer has
 * its own history entry, at the same address. The numbers of open layers and of entries are matched
 * in a later task after either changes. So a layer that replaces another in one step reuses its
 * entry.
 */
import { useEffect, useRef } from 'react'

interface Layer {
  readonly close: () => void
}

/**
 * Media query for devices where Back is a gesture or a key. On other devices, Back always means the
 * previous page.
 */
const hasSystemBack = '(max-width: 639px), (pointer: coarse)'

const layers: Layer[] = []
let isListening = false
let isMatching = false

/** Returns the number of layer entries in the history above the present page. */
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
  // After Forward, or Back across a reload, the history may have an entry whose layer no longer
  // exists.
  if (layers.length < present) matchLater()
}

// After a reload with an open menu, its history entry still exists, but the menu does not.
if (layersInHistory() > 0) {
  listen()
  matchLater()
}

function listen(): void {
  if (!isListening) window.addEventListener('popstate', follow)
  isListening = true
}

/** Hook: while the component is shown, Back closes it instead of leaving the page. */
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
      // Back has closed this layer already.
      if (index === -1) return
      layers.splice(index, 1)
      matchLater()
    }
  }, [])
}
