/** The shape of the application while it is not known yet who is signed in. */
import './chat-shell.css'

export function ShellSkeleton() {
  return (
    <div className='shell' data-at='home' aria-busy='true'>
      <div className='shell-panes'>
        <div className='sidebar'>
          <div className='sidebar-header' />
          <ListSkeleton />
        </div>
        <main className='pane'>
          <h1 className='hidden-visually'>Chorus is loading</h1>
        </main>
      </div>
    </div>
  )
}

/** As many rows as a usual screen shows, each a little different. */
export function ListSkeleton() {
  return (
    <div aria-hidden='true' className='list-skeleton'>
      {[62, 40, 75, 54, 48, 68, 36, 58].map((width, index) => (
        <div key={index} className='list-skeleton-row'>
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
