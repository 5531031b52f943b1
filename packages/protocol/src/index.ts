/**
 * The protocol between clients and servers: schemas, limits, errors and version. Imports no other
 * package of this repository; every other package imports this one.
 */
export * from './commands/command-types.ts'
export * from './commands/commands.ts'
export { keyScopes } from './commands/define-command.ts'
export type {
  CommandAuth,
  CommandDefinition,
  EventDefinition,
  KeyScope,
  Method,
  RouteDefinition,
} from './commands/define-command.ts'
export * from './errors.ts'
export type { ClosingCode } from './events/closing.ts'
export * from './events/events.ts'
export * from './limits.ts'
export * from './objects/card.ts'
export * from './objects/change.ts'
export * from './objects/conversation.ts'
export * from './objects/live-value.ts'
export * from './objects/message.ts'
export * from './objects/notifications.ts'
export * from './objects/session.ts'
export * from './objects/sync-page.ts'
export * from './objects/user.ts'
export * from './openapi.ts'
export * from './values/emoji.ts'
export * from './values/id.ts'
export * from './values/json.ts'
export * from './values/seq.ts'
export * from './values/text.ts'
export * from './version.ts'
export * from './webhooks/hook-question.ts'
export * from './webhooks/webhook-event.ts'
export * from './webhooks/webhook-signature.ts'
