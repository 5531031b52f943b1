/**
 * Chooses the top-level view: a placeholder while it is unknown whether the user is signed in, the
 * sign-in screen, or the chat.
 */
import { useChat, useSession } from '@chorus/react'
import { Suspense, useEffect, useRef } from 'react'
import { draftStorage, forgetDrafts } from './drafts/drafts.ts'
import { ChatShell } from './shell/chat-shell.tsx'
import { Notices } from './shell/notices.tsx'
import { ShellSkeleton } from './shell/shell-skeleton.tsx'
import { part } from './ui/part.tsx'
import { ErrorBoundary, MissingPane } from './ui/trouble.tsx'

const SignInScreen = part(async () => (await import('./access/sign-in-screen.tsx')).SignInScreen, MissingPane)

export function App() {
  const session = useSession()
  useAwayWhenHidden()
  useForgottenDrafts()
  return (
    <>
      {session.status === 'unknown' && <ShellSkeleton />}
      {session.status === 'signed-out' && (
        <Suspense fallback={<main aria-busy='true' aria-label='Loading' />}>
          <SignInScreen reason={session.reason} />
        </Suspense>
      )}
      {session.status === 'signed-in' && (
        <ErrorBoundary key={session.user.id} what='Chorus'>
          <ChatShell me={session.user} />
        </ErrorBoundary>
      )}
      <Notices />
    </>
  )
}

/**
 * Deletes the user's drafts from this browser when the user signs out. If the server revoked the
 * session, the drafts stay, as the unsent messages do.
 */
function useForgottenDrafts(): void {
  const session = useSession()
  const user = useRef<string>(undefined)
  useEffect(() => {
    if (session.status === 'signed-in') user.current = session.user.id
    if (session.status !== 'signed-out' || session.reason !== 'asked' || user.current === undefined) return
    forgetDrafts(user.current, draftStorage())
  }, [session])
}

/**
 * Sets the user's presence to away when the page has been hidden for a minute, and to online when
 * it is shown again.
 */
function useAwayWhenHidden(): void {
  const chat = useChat()
  const session = useSession()
  const isSignedIn = session.status === 'signed-in'
  useEffect(() => {
    if (!isSignedIn) return
    const awayAfterMs = 60_000
    let timer: ReturnType<typeof setTimeout> | undefined
    let isAway = false
    const tell = (status: 'online' | 'away'): void => {
      isAway = status === 'away'
      // The SDK sends the presence again after each reconnection, so an error here can be ignored.
      chat.presence.setStatus(status).catch(() => undefined)
    }
    const follow = (): void => {
      clearTimeout(timer)
      if (document.visibilityState === 'hidden') timer = setTimeout(() => tell('away'), awayAfterMs)
      else if (isAway) tell('online')
    }
    document.addEventListener('visibilitychange', follow)
    return () => {
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', follow)
    }
  }, [chat, isSignedIn])
}
