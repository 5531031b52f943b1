/**
 * Parts of the application that are loaded on demand. A script that does not come (no network, or a newer build has replaced
 * it) shows what the part says for that case and never takes the page with it; the next time the part is shown it is asked for again.
 */
import { lazy, useEffect, type ComponentType, type LazyExoticComponent } from 'react'
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
    Loaded ??= lazy(async () => ({ default: await load().catch(() => MissingUntilShownAgain) }))
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
