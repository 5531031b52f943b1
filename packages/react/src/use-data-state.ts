import type { DataState } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Where the local copy comes from: nothing, the store, a first load, or the server. */
export function useDataState(): DataState {
  return useObservable(useChat().data)
}
