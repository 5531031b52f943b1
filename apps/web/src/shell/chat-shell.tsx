/**
 * The application of a signed-in user: the conversation list, one pane next to it, dialogs above
 * both, and global keyboard shortcuts.
 */
import type { User } from '@chorus/client'
import { useConversations, useUnread } from '@chorus/react'
import { Suspense, useEffect, useMemo, useSyncExternalStore } from 'react'
import { openOverlay, overlayStore } from '../dialogs/overlay.ts'
import { createDrafts, draftStorage } from '../drafts/drafts.ts'
import { MeContext } from '../people/me.tsx'
import type { Route } from '../routing/route.ts'
import { navigate, useRoute } from '../routing/use-route.ts'
import { formatCount, titleOf } from '../summary/title.ts'
import { latinKey } from '../ui/keys.ts'
import { MissingOverlay, part } from '../ui/part.tsx'
import { ErrorBoundary, MissingPane } from '../ui/trouble.tsx'
import { ConnectionBanner } from './connection-banner.tsx'
import { HomePane } from './home-pane.tsx'
import { useListed } from './listed.ts'
import { Sidebar } from './sidebar.tsx'
import { StorageLine } from './storage-line.tsx'
import './chat-shell.css'

const loadConversationView = async () => (await import('../conversation/conversation-view.tsx')).ConversationView
const ConversationView = part(loadConversationView, MissingPane)
const FindDialog = part(async () => (await import('../dialogs/find-dialog.tsx')).FindDialog, MissingOverlay)
const NewConversationDialog = part(
  async () => (await import('../dialogs/new-conversation-dialog.tsx')).NewConversationDialog,
  MissingOverlay,
)
const BrowseChannelsDialog = part(
  async () => (await import('../dialogs/browse-channels-dialog.tsx')).BrowseChannelsDialog,
  MissingOverlay,
)
const KeyboardDialog = part(async () => (await import('../dialogs/keyboard-dialog.tsx')).KeyboardDialog, MissingOverlay)
const SettingsScreen = part(async () => (await import('../settings/settings-screen.tsx')).SettingsScreen, MissingPane)

export function ChatShell({ me }: { readonly me: User }) {
  const route = useRoute()
  const drafts = useMemo(() => createDrafts(me.id, draftStorage()), [me.id])
  const value = useMemo(() => ({ user: me, drafts }), [me, drafts])
  // Load the script of the conversation view in advance, so that it is there when the user opens a
  // conversation.
  useEffect(() => void loadConversationView().catch(() => undefined), [])
  useGlobalKeys(route)
  return (
    <MeContext value={value}>
      <div className='shell' data-at={route.at}>
        <ConnectionBanner />
        <StorageLine />
        <div className='shell-panes'>
          <Sidebar route={route} />
          <main className='pane' id='main' tabIndex={-1}>
            <Suspense fallback={null}>
              <Pane route={route} />
            </Suspense>
          </main>
        </div>
      </div>
      <Overlays />
      <Title route={route} me={me.id} />
    </MeContext>
  )
}

function Pane({ route }: { readonly route: Route }) {
  switch (route.at) {
    case 'home':
      return <HomePane />
    case 'conversation':
      return (
        <ErrorBoundary key={route.conversation} what='This conversation'>
          <ConversationView id={route.conversation} seq={route.seq} />
        </ErrorBoundary>
      )
    case 'settings':
      return <SettingsScreen section={route.section} />
  }
}

function Overlays() {
  const overlay = useSyncExternalStore(overlayStore.subscribe, overlayStore.get)
  const close = (): void => openOverlay('none')
  return (
    <Suspense fallback={null}>
      {overlay === 'find' && <FindDialog onClose={close} />}
      {overlay === 'new-conversation' && <NewConversationDialog onClose={close} />}
      {overlay === 'browse-channels' && <BrowseChannelsDialog onClose={close} />}
      {overlay === 'keyboard' && <KeyboardDialog onClose={close} />}
    </Suspense>
  )
}

/** Sets the title of the document: the number of unread messages, and the name of the open page. */
function Title({ route, me }: { readonly route: Route; readonly me: string }) {
  const unread = useUnread()
  const place = usePlace(route, me)
  useEffect(() => {
    const count = unread > 0 ? `(${formatCount(unread)}) ` : ''
    document.title = place === undefined ? `${count}Chorus` : `${count}${place} – Chorus`
  }, [unread, place])
  return null
}

function usePlace(route: Route, me: string): string | undefined {
  const conversations = useConversations()
  switch (route.at) {
    case 'home':
      return undefined
    case 'settings':
      return 'Settings'
    case 'conversation': {
      const summary = conversations.find(({ id }) => id === route.conversation)
      return summary === undefined ? undefined : titleOf(summary, me)
    }
  }
}

function useGlobalKeys(route: Route): void {
  // Conversations in the order of the list, so that Alt-↑ and Alt-↓ move as the user expects.
  const listed = useListed(useConversations())
  useEffect(() => {
    const follow = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.isComposing) return
      const hasControl = event.ctrlKey || event.metaKey
      if (hasControl && !event.altKey && latinKey(event) === 'k') {
        event.preventDefault()
        openOverlay(overlayStore.get() === 'find' ? 'none' : 'find')
        return
      }
      if (overlayStore.get() !== 'none') return
      // Ignore keys while a dialog is open: Escape must close only the dialog, not the conversation
      // behind it.
      if (document.querySelector('dialog[open]') !== null) return
      if (event.altKey && !hasControl && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
        event.preventDefault()
        const present =
          route.at === 'conversation'
            ? listed.findIndex(({ conversation }) => conversation.id === route.conversation)
            : -1
        const next = listed[event.key === 'ArrowDown' ? present + 1 : Math.max(present, 0) - 1]
        if (next !== undefined) navigate({ at: 'conversation', conversation: next.conversation.id })
        return
      }
      if (latinKey(event) === '?' && !hasControl && !isWriting(event.target)) {
        event.preventDefault()
        openOverlay('keyboard')
        return
      }
      if (event.key === 'Escape' && route.at !== 'home' && !isWriting(event.target)) {
        navigate({ at: 'home' })
      }
    }
    window.addEventListener('keydown', follow)
    return () => window.removeEventListener('keydown', follow)
  }, [listed, route])
}

function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]')
}
