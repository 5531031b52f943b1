/** Decides what the person sees: the shell while it is unknown who they are, the way in, or their conversations. */
import { useChat, useSession } from '@chorus/react'
import { lazy, Suspense, useEffect } from 'react'
import { Notices } from './notices/notices.tsx'
import { ChatShell } from './shell/chat-shell.tsx'
import { ShellSkeleton } from './shell/shell-skeleton.tsx'

const SignInScreen = lazy(async () => ({ default: (await import('./access/sign-in-screen.tsx')).SignInScreen }))

export function App() {
  const session = useSession()
  useAwayWhenHidden()
  return (
    <>
      {session.status === 'unknown' && <ShellSkeleton />}
      {session.status === 'signed-out' && (
        <Suspense fallback={<main aria-busy='true' aria-label='Loading' />}>
          <SignInScreen reason={session.reason} />
        </Suspense>
      )}
      {session.status === 'signed-in' && <ChatShell key={session.user.id} me={session.user} />}
      <Notices />
    </>
  )
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
