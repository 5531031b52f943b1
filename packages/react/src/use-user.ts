import type { User } from '@chorus/client'
import { useMemo } from 'react'
import { useChat } from './chat-provider.tsx'
import { nothing, useObservable } from './use-observable.ts'

/** A profile; undefined until it has come, and without an id. Asked for in batches and kept. */
export function useUser(id: string | undefined): User | undefined {
  const { users } = useChat()
  return useObservable(useMemo(() => (id === undefined ? nothing : users.observe(id)), [users, id]))
}
