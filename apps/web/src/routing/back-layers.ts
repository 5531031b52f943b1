/**
 * What lies on top of the application (a menu, a dialog, a panel) is closed by the system's Back on a phone, before a page is left.
 * The browser's history is the only way to hear of Back, so each layer has an entry of its own there, at the same address. The number
 * of open layers and the number of entries are made equal a moment after either changes: a layer that takes another's place in one
 * step takes its entry as well.
 */
import { useEffect, useRef } from 'react'

interface Layer {
  readonly close: () => void
}

/** Where Back is a gesture or a key of the device. Elsewhere Back means the page before. */
const hasSystemBack = '(max-width: 639px), (pointer: coarse)'

const layers: Layer[] = []
let isListening = false
let isMatching = false

/** How many entries of layers lie on top of the present page. */
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
  // Forward, or a reload in between: an entry whose layer is gone.
  if (layers.length < present) matchLater()
}

// A reload with a menu open: its entry is still there, the menu is not.
if (layersInHistory() > 0) {
  listen()
  matchLater()
}

function listen(): void {
  if (!isListening) window.addEventListener('popstate', follow)
  isListening = true
}

/** For as long as the component is shown, Back closes it instead of leaving the page. */
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
      // Back has taken it already.
      if (index === -1) return
      layers.splice(index, 1)
      matchLater()
    }
  }, [])
}
