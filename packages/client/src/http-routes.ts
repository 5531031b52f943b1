/**
 * Where each command lives over HTTP. A table of our own, so that no schema is needed at run time; a test holds it
 * against the command definitions.
 */
import type { CommandName, Method } from '@chorus/protocol'

export interface HttpRoute {
  readonly method: Method
  readonly path: string
  /** The whole body is this one field of the request. */
  readonly bodyIs?: string
}

const conversation = '/v1/conversations/{conversation}'
const message = `${conversation}/messages/{seq}`
const member = `${conversation}/members/{user}`
const reaction = `${message}/reactions/{emoji}`

export const httpRoutes: { readonly [Name in CommandName]: HttpRoute } = {
  'add-reaction': { method: 'PUT', path: reaction },
  'confirm-email': { method: 'POST', path: '/v1/notifications/confirm' },
  'create-conversation': { method: 'POST', path: '/v1/conversations' },
  'delete-message': { method: 'DELETE', path: message },
  'edit-message': { method: 'PATCH', path: message },
  'find-channels': { method: 'GET', path: '/v1/channels' },
  'find-users': { method: 'GET', path: '/v1/users' },
  'get-conversation': { method: 'GET', path: conversation },
  'get-message': { method: 'GET', path: message },
  'get-notifications': { method: 'GET', path: '/v1/notifications' },
  'get-session': { method: 'GET', path: '/v1/session' },
  'get-session-data': { method: 'GET', path: '/v1/session/data' },
  'get-user': { method: 'GET', path: '/v1/users/{id}' },
  'list-changes': { method: 'GET', path: `${conversation}/changes` },
  'list-conversations': { method: 'GET', path: '/v1/conversations' },
  'list-live-values': { method: 'GET', path: `${conversation}/live` },
  'list-members': { method: 'GET', path: `${conversation}/members` },
  'list-messages': { method: 'GET', path: `${conversation}/messages` },
  'list-sessions': { method: 'GET', path: '/v1/sessions' },
  'mark-read': { method: 'PUT', path: `${conversation}/read` },
  'put-member': { method: 'PUT', path: member },
  'remove-member': { method: 'DELETE', path: member },
  'remove-reaction': { method: 'DELETE', path: reaction },
  'revoke-session': { method: 'DELETE', path: '/v1/sessions/{id}' },
  'send-message': { method: 'POST', path: `${conversation}/messages` },
  'set-live-value': { method: 'PUT', path: `${conversation}/live/{key}` },
  'set-notifications': { method: 'PUT', path: '/v1/notifications' },
  'set-status': { method: 'PUT', path: '/v1/status' },
  'sign-in': { method: 'POST', path: '/v1/session' },
  'sign-out': { method: 'DELETE', path: '/v1/session' },
  'sign-up': { method: 'POST', path: '/v1/users' },
  sync: { method: 'GET', path: '/v1/sync' },
  'update-conversation': { method: 'PATCH', path: conversation },
  'update-profile': { method: 'PATCH', path: '/v1/users/me' },
  'update-session-data': { method: 'PATCH', path: '/v1/session/data', bodyIs: 'data' },
  'watch-presence': { method: 'POST', path: '/v1/presence' },
}
