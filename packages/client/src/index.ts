/**
 * The TypeScript SDK of Chorus: a local copy of a user's conversations that is right after any disconnection, and an
 * outbox that loses nothing. For browsers and Node; no user interface.
 *
 * ```ts
 * const chat = createChatClient({ url: location.origin, store: createIndexedDbStore() })
 * await chat.start()
 * const conversation = chat.conversation(id)
 * conversation.messages.view.subscribe(() => render(conversation.messages.view.get()))
 * await conversation.messages.send({ text: 'hello' })
 * ```
 */
export type * from './api.ts'
export { createChatClient } from './chat-client.ts'
export type { Clock } from './clock.ts'
export type { Observable } from './observable.ts'
export type {
  AccountRecord,
  ChatStore,
  CommitOutcome,
  ConversationRecord,
  OutboxRecord,
  RemovedRecord,
  ReplicaCommit,
  ReplicaRecord,
  StorageState,
  WindowRecord,
} from './store.ts'
export { createIndexedDbStore } from './store-indexeddb.ts'
export { createMemoryStore } from './store-memory.ts'
export { ChorusError, isErrorCode, limits } from '@chorus/protocol'
export type {
  Change,
  Conversation,
  ConversationKind,
  ErrorBody,
  ErrorCode,
  Json,
  LiveValue,
  Member,
  Message,
  PageMessage,
  Presence,
  PresenceStatus,
  ReactionCount,
  Role,
  Session,
  User,
} from '@chorus/protocol'
