import type { ConnectionStatus } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** The state of the connection, for a banner. */
export function useConnection(): ConnectionStatus {
  return useObservable(useChat().connection)
}
