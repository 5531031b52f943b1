/**
 * Hook for the current route, and functions that navigate. The route is stored only in the address
 * of the page.
 */
import { useMemo, useSyncExternalStore } from 'react'
import { afterTraversal, layersInHistory } from './back-layers.ts'
import { formatRoute, parseRoute, type Route } from './route.ts'

const listeners = new Set<() => void>()

function announce(): void {
  for (const listener of listeners) listener()
}

window.addEventListener('popstate', announce)

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export function useRoute(): Route {
  const path = useSyncExternalStore(subscribe, () => window.location.pathname)
  return useMemo(() => parseRoute(path), [path])
}

/** Navigates to a route. With `replace`, Back does not return to the present route. */
export function navigate(route: Route, options: { readonly replace?: boolean } = {}): void {
  afterTraversal(() => writeAddress(route, options))
}

function writeAddress(route: Route, options: { readonly replace?: boolean }): void {
  const path = formatRoute(route)
  if (path === window.location.pathname) return
  // If a menu or dialog led here, replace its history entry, so that Back returns to the previous
  // page and not to the menu.
  if (options.replace === true || layersInHistory() > 0) window.history.replaceState(null, '', path)
  else window.history.pushState(null, '', path)
  announce()
}
