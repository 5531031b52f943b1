/**
 * Presence and typing for display: unknown without a connection, because an old value could be
 * wrong.
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
 * Returns whether there is a connection. Short reconnections count as connected: after five seconds
 * the client itself reports `unknown`.
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
