/**
 * Placeholder shown while it is unknown whether the user is signed in. After 4 s it explains that
 * the server is unreachable.
 */
import { useEffect, useState } from 'react'
import './chat-shell.css'
import './sidebar.css'

const patienceMs = 4_000

export function ShellSkeleton() {
  const [isSlow, setIsSlow] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setIsSlow(true), patienceMs)
    return () => clearTimeout(timer)
  }, [])
  return (
    <div className='shell' data-at='home' aria-busy={!isSlow}>
      <div className='shell-panes'>
        <div className='sidebar skeleton-sidebar'>
          <div className='sidebar-header' />
          <ListSkeleton />
        </div>
        <main className='pane skeleton-pane'>
          {isSlow ? (
            <div className='home' role='status'>
              <h1 className='home-title'>The server can’t be reached</h1>
              <p className='secondary home-text'>Trying again. If this takes long, check your connection.</p>
              <button type='button' className='button' onClick={() => window.location.reload()}>
                Reload
              </button>
            </div>
          ) : (
            <h1 className='hidden-visually'>Chorus is loading</h1>
          )}
        </main>
      </div>
    </div>
  )
}

/** Draws empty placeholder rows in different widths, about as many as fit on a screen. */
export function ListSkeleton() {
  return (
    <div aria-hidden='true' className='list-skeleton'>
      {[62, 40, 75, 54, 48, 68, 36, 58].map((width) => (
        <div key={width} className='list-skeleton-row'>
          <div className='skeleton list-skeleton-avatar' />
          <div className='list-skeleton-lines'>
            <div className='skeleton list-skeleton-line' style={{ width: `${width}%` }} />
            <div className='skeleton list-skeleton-line' style={{ width: `${Math.min(92, width + 22)}%` }} />
          </div>
        </div>
      ))}
    </div>
  )
}
