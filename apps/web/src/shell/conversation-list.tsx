/**
 * Virtual list of the conversations, most recently active first: only rows near the screen are in
 * the DOM. A pending message counts as activity. All rows have the same height, so the scroll
 * position alone decides which rows to draw. The open conversation is always scrolled into view.
 */
import { useConversations, useDataState } from '@chorus/react'
import { useEffect, useLayoutEffect, useRef, useState } from 'react'
import { openOverlay } from '../dialogs/overlay.ts'
import { useMatches } from '../ui/use-matches.ts'
import { ConversationListItem } from './conversation-list-item.tsx'
import { JoinableChannels } from './joinable-channels.tsx'
import { useListed, type Listed } from './listed.ts'
import { ListSkeleton } from './shell-skeleton.tsx'

/** Number of rows drawn above and below the screen, so that the Tab key finds the next row. */
const beyondRows = 6

export function ConversationList({ open }: { readonly open: string | undefined }) {
  const conversations = useConversations()
  const data = useDataState()
  const listed = useListed(conversations)
  const isPhone = useMatches('(max-width: 639px)')
  if (conversations.length === 0) {
    if (data === 'empty' || data === 'loading') return <ListSkeleton />
    return (
      <div className='sidebar-empty'>
        <p>No conversations yet.</p>
        {isPhone && <JoinableChannels />}
        <button type='button' className='text-button' onClick={() => openOverlay('browse-channels')}>
          Browse channels
        </button>
      </div>
    )
  }
  return <Rows listed={listed} open={open} />
}

function Rows({ listed, open }: { readonly listed: readonly Listed[]; readonly open: string | undefined }) {
  const isPhone = useMatches('(max-width: 639px)')
  const isColumn = useMatches('(min-width: 640px) and (max-width: 1023px)')
  const rowPx = isPhone ? 68 : isColumn ? 72 : 64
  const scroller = useRef<HTMLDivElement>(null)
  const [range, setRange] = useState({ from: 0, to: 30 })

  const follow = (): void => {
    const element = scroller.current
    if (element === null) return
    const from = Math.max(0, Math.floor(element.scrollTop / rowPx) - beyondRows)
    const to = Math.ceil((element.scrollTop + element.clientHeight) / rowPx) + beyondRows
    setRange((present) => (present.from === from && present.to === to ? present : { from, to }))
  }
  const newestFollow = useRef(follow)
  useLayoutEffect(() => {
    newestFollow.current = follow
    follow()
  })
  useEffect(() => {
    if (scroller.current === null) return
    const observer = new ResizeObserver(() => newestFollow.current())
    observer.observe(scroller.current)
    return () => observer.disconnect()
  }, [])

  const index = listed.findIndex(({ conversation }) => conversation.id === open)
  const newestIndex = useRef(index)
  useLayoutEffect(() => {
    newestIndex.current = index
  }, [index])
  const isListed = index !== -1
  useLayoutEffect(() => {
    const element = scroller.current
    const at = newestIndex.current
    if (element === null || !isListed) return
    const topPx = at * rowPx
    const { scrollTop, clientHeight } = element
    if (topPx < scrollTop) element.scrollTop = topPx
    else if (topPx + rowPx > scrollTop + clientHeight) element.scrollTop = topPx + rowPx - clientHeight
    newestFollow.current()
  }, [open, isListed, rowPx])

  const from = Math.min(range.from, listed.length)
  const to = Math.min(range.to, listed.length)
  return (
    <div ref={scroller} className='sidebar-list scrolls' tabIndex={-1} onScroll={follow}>
      <div role='list' style={{ paddingTop: from * rowPx, paddingBottom: (listed.length - to) * rowPx }}>
        {listed.slice(from, to).map(({ conversation, waiting }, place) => (
          <div
            key={conversation.id}
            role='listitem'
            aria-setsize={listed.length}
            aria-posinset={from + place + 1}
            style={{ height: rowPx }}
          >
            <ConversationListItem conversation={conversation} waiting={waiting} isOpen={conversation.id === open} />
          </div>
        ))}
      </div>
    </div>
  )
}
