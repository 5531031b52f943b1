import type { DataState } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Returns the state of the local copy: `empty`, `cached` (from the store), `loading` or `live`. */
export function useDataState(): DataState {
  return useObservable(useChat().data)
}
