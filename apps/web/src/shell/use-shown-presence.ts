/** Presence as it may be shown: without a connection it is unknown, and an old answer would be a wrong one. */
import type { Presence } from '@chorus/client'
import { useConnection, usePresence, useTyping } from '@chorus/react'

export function useShownPresence(user: string | undefined): Presence | undefined {
  const presence = usePresence(user)
  return useIsConnected() ? presence : undefined
}

export function useShownTyping(conversation: string): readonly string[] {
  const users = useTyping(conversation)
  return useIsConnected() ? users : nobody
}

const nobody: readonly string[] = []

/** A short reconnection is not worth taking everything away for: after five seconds the client says `unknown` itself. */
export function useIsConnected(): boolean {
  const { state } = useConnection()
  switch (state) {
    case 'ready':
    case 'moving':
    case 'replaying':
    case 'connecting':
    case 'waiting':
      return true
    case 'idle':
    case 'offline':
    case 'closed':
      return false
  }
}
