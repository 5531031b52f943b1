/**
 * Socket.IO event name of each command. Generated from packages/protocol/src/commands/ by
 * `npm run docs`. Do not edit.
 */
import type { EventCommandName } from '@chorus/protocol'

export const commandEvents: { readonly [Name in EventCommandName]: string } = {
  'act-on-card': 'act',
  'add-reaction': 'react',
  authenticate: 'authenticate',
  'delete-message': 'delete',
  'edit-message': 'edit',
  'mark-read': 'read',
  'remove-reaction': 'unreact',
  'send-message': 'send',
  'set-live-value': 'live',
  'set-status': 'status',
  sync: 'sync',
  'watch-presence': 'watch',
}
