import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** How far each member has read, by user id. */
export function useReadMarkers(conversation: string): ReadonlyMap<string, number> {
  return useObservable(useChat().conversation(conversation).readMarkers)
}
