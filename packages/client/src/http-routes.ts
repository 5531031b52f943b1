/**
 * HTTP method and path of each command. A separate table, so that no schema is loaded at run time.
 * A test compares it with the command definitions.
 */
import type { CommandName, Method } from '@chorus/protocol'

/**
 * Method and path of a command. An optional third word names the request field that becomes the
 * whole body.
 */
export type HttpRoute = `${Method} ${string}`

const conversation = '/v1/conversations/{conversation}'
const message = `${conversation}/messages/{seq}`
const member = `${conversation}/members/{user}`
const reaction = `${message}/reactions/{emoji}`

export const httpRoutes: { readonly [Name in CommandName]: HttpRoute } = {
  'add-reaction': `PUT ${reaction}`,
  'confirm-email': 'POST /v1/notifications/confirm',
  'create-conversation': 'POST /v1/conversations',
  'delete-message': `DELETE ${message}`,
  'edit-message': `PATCH ${message}`,
  'find-channels': 'GET /v1/channels',
  'find-users': 'GET /v1/users',
  'get-conversation': `GET ${conversation}`,
  'get-message': `GET ${message}`,
  'get-notifications': 'GET /v1/notifications',
  'get-session': 'GET /v1/session',
  'get-session-data': 'GET /v1/session/data',
  'get-user': 'GET /v1/users/{id}',
  'list-changes': `GET ${conversation}/changes`,
  'list-conversations': 'GET /v1/conversations',
  'list-live-values': `GET ${conversation}/live`,
  'list-members': `GET ${conversation}/members`,
  'list-messages': `GET ${conversation}/messages`,
  'list-sessions': 'GET /v1/sessions',
  'mark-read': `PUT ${conversation}/read`,
  'put-member': `PUT ${member}`,
  'remove-member': `DELETE ${member}`,
  'remove-reaction': `DELETE ${reaction}`,
  'revoke-session': 'DELETE /v1/sessions/{id}',
  'send-message': `POST ${conversation}/messages`,
  'set-live-value': `PUT ${conversation}/live/{key}`,
  'set-notifications': 'PUT /v1/notifications',
  'set-status': 'PUT /v1/status',
  'sign-in': 'POST /v1/session',
  'sign-out': 'DELETE /v1/session',
  'sign-up': 'POST /v1/users',
  sync: 'GET /v1/sync',
  'update-conversation': `PATCH ${conversation}`,
  'update-profile': 'PATCH /v1/users/me',
  'update-session-data': 'PATCH /v1/session/data data',
  'watch-presence': 'POST /v1/presence',
}
