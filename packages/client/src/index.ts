/**
 * TypeScript SDK of Chorus, for browsers and Node, without a user interface.
 *
 * It keeps a local copy of the user's conversations that is correct again after any disconnection, and an
 * outbox that loses no message.
 *
 * ```ts
 * const chat = createChatClient({ url: location.origin, store: createIndexedDbStore() })
 * await chat.start()
 * const conversation = chat.conversation(id)
 * conversation.messages.view.subscribe(() => render(conversation.messages.view.get()))
 * await conversation.messages.send({ text: 'hello' })
 * ```
 */
export type * from './model/api.ts'
export type * from './model/api-cards.ts'
export type * from './model/api-conversation.ts'
export type * from './model/api-messages.ts'
export type * from './model/api-users.ts'
export { createChatClient } from './chat-client.ts'
export type { Clock } from './support/clock.ts'
export type { Observable } from './support/observable.ts'
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
} from './model/store.ts'
export { createIndexedDbStore } from './store/store-indexeddb.ts'
export { createMemoryStore } from './store/store-memory.ts'
export { ChorusError, isErrorCode, limits } from '@chorus/protocol'
export type {
  Card,
  CardPayload,
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
