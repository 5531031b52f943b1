/**
 * For Node back ends that embed Chorus: sign user tokens, verify webhooks and the pre-send hook, call
 * the server API, and post messages inside your own database transaction.
 *
 * ```ts
 * const chorus = createChorusClient({ url: 'https://chat.example.org', secret: process.env.CHORUS_SECRET })
 * await chorus.users.put('user-1', { name: 'Ada' })
 * const token = await signUserToken({ keyId, signingSecret, userId: 'user-1' })
 * ```
 */
export { ChorusApiError } from './api/api-error.ts'
export type { ApiErrorCode, ApiFailure, CurrentState } from './api/api-error.ts'
export { createChorusClient } from './api/chorus-client.ts'
export type {
  CardAct,
  ChorusClient,
  ChorusClientOptions,
  HistoryQuery,
  MessagesApi,
  SubjectsApi,
  UserApi,
  UsersApi,
} from './api/chorus-client.ts'
export type { UserCommand } from './api/command-path.ts'
export type { CallOptions } from './api/send-request.ts'
export type * from './model/objects.ts'
export type { QueryClient, StatementClient } from './outbox/database.ts'
export { startOutboxRelay } from './outbox/outbox-relay.ts'
export type { OutboxProblem, OutboxRelay, OutboxRelayOptions } from './outbox/outbox-relay.ts'
export { createOutboxTable, outboxTableSql, readOutboxState, retryDeadLetters } from './outbox/outbox-table.ts'
export type { OutboxState } from './outbox/outbox-table.ts'
export { postInTransaction } from './outbox/post-in-transaction.ts'
export type { OutboxMessage } from './outbox/post-in-transaction.ts'
export { signUserToken } from './tokens/sign-user-token.ts'
export type { UserTokenOptions } from './tokens/sign-user-token.ts'
export { verifyHook, verifyWebhook } from './webhooks/verify-webhook.ts'
export type { ReceivedHook, ReceivedWebhook, SignedRequest } from './webhooks/verify-webhook.ts'
export { isKnownChange, signWebhook, WebhookError } from '@chorus/protocol'
export type {
  Change,
  Conversation,
  HookAnswer,
  HookQuestion,
  Json,
  Message,
  MessagePage,
  User,
  WebhookEvent,
} from '@chorus/protocol'
