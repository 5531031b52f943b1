/**
 * Replacement for a part that cannot be shown: explains it, and offers to reload the page. Drafts
 * keep the typed text.
 */
import { Component, type ReactNode } from 'react'
import { explainMissing } from './part.tsx'
import './trouble.css'

export function Trouble({ text }: { readonly text: string }) {
  return (
    <div className='trouble' role='alert'>
      <p>{text}</p>
      <button type='button' className='button' onClick={() => window.location.reload()}>
        Reload
      </button>
    </div>
  )
}

/** Replacement for a pane or a screen whose script failed to load. */
export function MissingPane() {
  return <Trouble text={explainMissing()} />
}

interface ErrorBoundaryProps {
  /** Name of the part that failed, as in the text shown: `This conversation`. */
  readonly what: string
  /** Simpler content to show instead, if there is any. */
  readonly fallback?: ReactNode
  readonly children: ReactNode
}

/** Keeps an error inside one part of the page. React logs the cause. A new `key` tries again. */
export class ErrorBoundary extends Component<ErrorBoundaryProps, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false }

  static getDerivedStateFromError() {
    return { hasFailed: true }
  }

  override render() {
    const { what, fallback, children } = this.props
    if (!this.state.hasFailed) return children
    if (fallback !== undefined) return fallback
    return <Trouble text={`${what} can’t be shown because of an error in the app. Your text is kept.`} />
  }
}
