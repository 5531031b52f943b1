/** Takes the place of what cannot be shown: says so, and offers to load the page again. What was typed is kept by the drafts. */
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

/** For a pane or a screen whose script did not come. */
export function MissingPane() {
  return <Trouble text={`${explainMissing()}.`} />
}

interface ErrorBoundaryProps {
  /** The part of the page that cannot be shown: `This conversation`. */
  readonly what: string
  /** Takes its place, where something simpler can be shown. */
  readonly fallback?: ReactNode
  readonly children: ReactNode
}

/** Keeps an error inside a part of the page. React logs the cause. Another `key` tries again. */
export class ErrorBoundary extends Component<ErrorBoundaryProps, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false }

  static getDerivedStateFromError() {
    return { hasFailed: true }
  }

  override render() {
    const { what, fallback, children } = this.props
    if (!this.state.hasFailed) return children
    if (fallback !== undefined) return fallback
    return <Trouble text={`${what} can’t be shown because of an error in the application. What you wrote is kept.`} />
  }
}
