import type { StorageState } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Where this device keeps its data: `memory` deserves a line, because a reload loses what is waiting. */
export function useStorage(): StorageState {
  return useObservable(useChat().storage)
}
