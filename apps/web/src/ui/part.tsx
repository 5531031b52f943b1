/**
 * Loads parts of the application (a pane, a dialog) on demand. If a script fails to load (no
 * network, or a newer build has replaced it), the part shows its `Missing` component, and the rest
 * of the page works. The script is requested a second time after a moment if the browser is online,
 * because a change of network also ends requests, and then when the part is shown again, and when
 * the network comes back.
 */
import { lazy, useEffect, useReducer, type ComponentType, type LazyExoticComponent } from 'react'
import { showNotice } from '../notices/notices.ts'

/** Time between the first and the second request for a script. */
const retryMs = 500

/**
 * Returns a text that explains why a part of the application is missing, and what the user can do.
 */
export function explainMissing(): string {
  return navigator.onLine
    ? 'This page is out of date. Reload it.'
    : 'This part of the app isn’t on this device yet. It will load when you’re back online.'
}

export function part<Props extends object>(
  load: () => Promise<ComponentType<Props>>,
  Missing: ComponentType<Props>,
): ComponentType<Props> {
  let Loaded: LazyExoticComponent<ComponentType<Props>> | undefined
  let isMissing = false
  function MissingUntilShownAgain(props: Props) {
    useEffect(
      () => () => {
        Loaded = undefined
      },
      [],
    )
    return <Missing {...props} />
  }
  return function Part(props: Props) {
    const [, render] = useReducer((count: number) => count + 1, 0)
    useEffect(() => {
      const tryAgain = (): void => {
        if (isMissing) Loaded = undefined
        render()
      }
      window.addEventListener('online', tryAgain)
      return () => window.removeEventListener('online', tryAgain)
    }, [])
    Loaded ??= lazy(async () => {
      const loaded = await load()
        .catch(() => (navigator.onLine ? pause(retryMs).then(load) : undefined))
        .catch(() => undefined)
      isMissing = loaded === undefined
      return { default: loaded ?? MissingUntilShownAgain }
    })
    return <Loaded {...props} />
  }
}

/**
 * Replacement for a dialog, picker or panel whose script is missing: shows a notice and calls
 * `onClose`.
 */
export function MissingOverlay({ onClose }: { readonly onClose: () => void }) {
  useEffect(() => {
    showNotice({ tone: 'error', text: explainMissing() })
    onClose()
  }, [onClose])
  return null
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
