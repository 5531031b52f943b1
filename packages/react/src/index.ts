/**
 * React hooks for `@chorus/client`. Each hook reads one observable of the client and has no state
 * or logic of its own. So a component always shows the client's current data, and a burst of
 * changes renders once.
 */
export { ChatProvider, useChat } from './chat-provider.tsx'
export type { ChatProviderProps } from './chat-provider.tsx'
export { useCard } from './use-card.ts'
export { useConnection } from './use-connection.ts'
export { useConversation } from './use-conversation.ts'
export { useConversations } from './use-conversations.ts'
export { useDataState } from './use-data-state.ts'
export { useLiveValues } from './use-live-values.ts'
export { useMembers } from './use-members.ts'
export { useMessages } from './use-messages.ts'
export { useObservable } from './use-observable.ts'
export { useOutbox } from './use-outbox.ts'
export { useConversationPresence, usePresence } from './use-presence.ts'
export { useReadMarkers } from './use-read-markers.ts'
export { useSession } from './use-session.ts'
export { useStorage } from './use-storage.ts'
export { useTyping } from './use-typing.ts'
export { useConversationUnread, useUnread } from './use-unread.ts'
export { useUser } from './use-user.ts'
