/**
 * Hooks that return presence and typing users for display. Without a connection, presence is
 * unknown and no typing is shown, because an old value could be wrong.
 */
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

/**
 * Returns whether the client is connected to the server. A reconnection counts as connected: if it
 * takes more than five seconds, the client itself reports every presence as `unknown`.
 */
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
