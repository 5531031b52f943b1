import type { StorageState } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/**
 * Returns where this device stores its data: `persistent` or `memory`. Warn users about `memory`: a
 * reload loses their pending messages.
 */
export function useStorage(): StorageState {
  return useObservable(useChat().storage)
}
