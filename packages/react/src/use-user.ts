import type { User } from '@chorus/client'
import { useMemo } from 'react'
import { useChat } from './chat-provider.tsx'
import { nothing, useObservable } from './use-observable.ts'

/**
 * Returns a user's profile, or undefined until it is loaded and without an id. Profiles are loaded
 * in batches and cached.
 */
export function useUser(id: string | undefined): User | undefined {
  const { users } = useChat()
  return useObservable(useMemo(() => (id === undefined ? nothing : users.observe(id)), [users, id]))
}
