import type { ConnectionStatus } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/**
 * Returns the state of the connection to the server, for example to show a banner while offline.
 */
export function useConnection(): ConnectionStatus {
  return useObservable(useChat().connection)
}
