/**
 * HTTP method and path of each command that users can send; undefined for a command of Socket.IO
 * alone. Generated from packages/protocol/src/commands/ by `npm run docs`. Do not edit.
 */
import type { Method, UserCommandName } from '@chorus/protocol'

/**
 * Method and path of a command. An optional third word names the request field that becomes the
 * whole body.
 */
export type HttpRoute = `${Method} ${string}`

export const httpRoutes: { readonly [Name in UserCommandName]: HttpRoute | undefined } = {
  'act-on-card': 'POST /v1/conversations/{conversation}/messages/{seq}/actions',
  'add-reaction': 'PUT /v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}',
  authenticate: undefined,
  'confirm-email': 'POST /v1/notifications/confirm',
  'create-conversation': 'POST /v1/conversations',
  'delete-message': 'DELETE /v1/conversations/{conversation}/messages/{seq}',
  'edit-message': 'PATCH /v1/conversations/{conversation}/messages/{seq}',
  'find-channels': 'GET /v1/channels',
  'find-users': 'GET /v1/users',
  'get-conversation': 'GET /v1/conversations/{conversation}',
  'get-message': 'GET /v1/conversations/{conversation}/messages/{seq}',
  'get-notifications': 'GET /v1/notifications',
  'get-session': 'GET /v1/session',
  'get-session-data': 'GET /v1/session/data',
  'get-user': 'GET /v1/users/{id}',
  'list-card-keys': 'GET /v1/keys',
  'list-changes': 'GET /v1/conversations/{conversation}/changes',
  'list-conversations': 'GET /v1/conversations',
  'list-live-values': 'GET /v1/conversations/{conversation}/live',
  'list-members': 'GET /v1/conversations/{conversation}/members',
  'list-messages': 'GET /v1/conversations/{conversation}/messages',
  'list-sessions': 'GET /v1/sessions',
  'mark-read': 'PUT /v1/conversations/{conversation}/read',
  'put-member': 'PUT /v1/conversations/{conversation}/members/{user}',
  'remove-member': 'DELETE /v1/conversations/{conversation}/members/{user}',
  'remove-reaction': 'DELETE /v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}',
  'revoke-session': 'DELETE /v1/sessions/{id}',
  'send-message': 'POST /v1/conversations/{conversation}/messages',
  'set-live-value': 'PUT /v1/conversations/{conversation}/live/{key}',
  'set-notifications': 'PUT /v1/notifications',
  'set-status': 'PUT /v1/status',
  'sign-in': 'POST /v1/session',
  'sign-out': 'DELETE /v1/session',
  'sign-up': 'POST /v1/users',
  sync: 'GET /v1/sync',
  'update-conversation': 'PATCH /v1/conversations/{conversation}',
  'update-profile': 'PATCH /v1/users/me',
  'update-session-data': 'PATCH /v1/session/data data',
  'watch-presence': 'POST /v1/presence',
}
