/**
 * Content in place of a part of the page that cannot be shown: explains why, and offers to reload
 * the page. Typed text is not lost, because drafts store it.
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

/** Content in place of a pane or screen whose script failed to load. */
export function MissingPane() {
  return <Trouble text={explainMissing()} />
}

interface ErrorBoundaryProps {
  /** Name of the part that failed, as the shown text calls it: `This conversation`. */
  readonly what: string
  /**
   * Content to show instead of the failed part. If left out, a text that explains the failure is
   * shown.
   */
  readonly fallback?: ReactNode
  readonly children: ReactNode
}

/**
 * Catches errors of the components inside it, so that the rest of the page keeps working. React
 * logs the error. A new value of `key` renders the components again.
 */
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
