/**
 * Parts of the application that are loaded on demand. A script that does not come (no network, or a newer build has replaced
 * it) shows what the part says for that case and never takes the page with it. It is asked for again when the part is shown the next
 * time, and when the network comes back.
 */
import { lazy, useEffect, useReducer, type ComponentType, type LazyExoticComponent } from 'react'
import { showNotice } from '../notices/notices.ts'

/** Says why a part cannot be shown, and what helps. */
export function explainMissing(): string {
  return navigator.onLine
    ? 'This page is out of date. Reload it'
    : 'This part isn’t on this device yet. It loads when you’re back online'
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
      const loaded = await load().catch(() => undefined)
      isMissing = loaded === undefined
      return { default: loaded ?? MissingUntilShownAgain }
    })
    return <Loaded {...props} />
  }
}

/** For what floats above the page: says it in a notice, and closes. */
export function MissingOverlay({ onClose }: { readonly onClose: () => void }) {
  useEffect(() => {
    showNotice({ tone: 'error', text: explainMissing() })
    onClose()
  }, [onClose])
  return null
}
