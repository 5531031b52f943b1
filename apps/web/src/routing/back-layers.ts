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

/**
 * Maximum time to wait for the end of a traversal. The browser ends it within milliseconds, or never
 * if the history has no entry to go to.
 */
const traversalMaxMs = 1_000

/** Traversal of the history that this module began and the browser has not finished. */
interface Traversal {
  /** Number of layer entries that remain afterwards. */
  readonly layers: number
  readonly timer: ReturnType<typeof setTimeout>
  readonly afterwards: (() => void)[]
}

const layers: Layer[] = []
let isListening = false
let isMatching = false
let traversal: Traversal | undefined

/**
 * Returns the number of history entries that belong to layers and lie above the entry of the page.
 */
export function layersInHistory(): number {
  const state: unknown = window.history.state
  if (typeof state !== 'object' || state === null || !('layers' in state)) return 0
  return typeof state.layers === 'number' ? state.layers : 0
}

/**
 * Calls `action` after the traversal that removes the entries of closed layers, or at once if there
 * is none. Until then, the history still shows the entry that is about to be left: an address
 * written there would be lost.
 */
export function afterTraversal(action: () => void): void {
  if (traversal === undefined) action()
  else traversal.afterwards.push(action)
}

function matchLater(): void {
  if (isMatching) return
  isMatching = true
  setTimeout(() => {
    isMatching = false
    // The number of entries is not known yet. endTraversal calls this function again.
    if (traversal !== undefined) return
    const present = layersInHistory()
    if (layers.length < present) {
      traversal = { layers: layers.length, timer: setTimeout(giveUpTraversal, traversalMaxMs), afterwards: [] }
      window.history.go(layers.length - present)
    }
    for (let count = present + 1; count <= layers.length; count += 1) window.history.pushState({ layers: count }, '')
  })
}

/** Makes the present entry that of the page, because there is no entry below it to go back to. */
function giveUpTraversal(): void {
  window.history.replaceState(null, '')
  endTraversal()
}

function endTraversal(): void {
  if (traversal === undefined) return
  const { timer, afterwards } = traversal
  clearTimeout(timer)
  traversal = undefined
  for (const action of afterwards) action()
  matchLater()
}

function follow(): void {
  const present = layersInHistory()
  // Fewer entries than expected: the user went back at the same time.
  const isExpected = traversal !== undefined && present >= traversal.layers
  endTraversal()
  if (isExpected) return
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
