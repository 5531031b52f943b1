import type { SessionState } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Returns the session of this device: `unknown`, `signed-out`, or `signed-in` with the user. */
export function useSession(): SessionState {
  return useObservable(useChat().session)
}
