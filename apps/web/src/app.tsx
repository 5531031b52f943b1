/** Decides what the person sees: the shell while it is unknown who they are, the way in, or their conversations. */
import { useChat, useSession } from '@chorus/react'
import { Suspense, useEffect, useRef } from 'react'
import { draftStorage, forgetDrafts } from './conversation/drafts.ts'
import { Notices } from './notices/notices.tsx'
import { ChatShell } from './shell/chat-shell.tsx'
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

/** Signing out removes from this browser what was typed and not sent. A revoked session keeps it, as the outbox does. */
function useForgottenDrafts(): void {
  const session = useSession()
  const user = useRef<string>(undefined)
  useEffect(() => {
    if (session.status === 'signed-in') user.current = session.user.id
    if (session.status !== 'signed-out' || session.reason !== 'asked' || user.current === undefined) return
    forgetDrafts(user.current, draftStorage())
  }, [session])
}

/** A page in the background for a while says that nobody is there. */
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
      // Said again after each reconnection, so a failure here needs no answer.
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
