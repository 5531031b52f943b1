import type { SessionState } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Who is signed in on this device. */
export function useSession(): SessionState {
  return useObservable(useChat().session)
}
