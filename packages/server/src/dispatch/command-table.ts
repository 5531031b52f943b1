/**
 * Maps every command to its cost and its handler. Socket.IO and REST both dispatch through this
 * table, and its type makes it complete. Generated from the files in commands/ by `npm run docs`.
 * Do not edit.
 */
import type { CommandTable } from '../commands/command.ts'
import { actOnCard } from '../commands/messages/act-on-card.ts'
import { addReaction } from '../commands/messages/add-reaction.ts'
import { authenticate } from '../commands/sessions/authenticate.ts'
import { confirmEmail } from '../commands/users/confirm-email.ts'
import { createConversation } from '../commands/conversations/create-conversation.ts'
import { deleteMessage } from '../commands/messages/delete-message.ts'
import { deleteUser } from '../commands/admin/delete-user.ts'
import { editMessage } from '../commands/messages/edit-message.ts'
import { findChannels } from '../commands/conversations/find-channels.ts'
import { findUsers } from '../commands/users/find-users.ts'
import { getConversation } from '../commands/conversations/get-conversation.ts'
import { getExternalUser } from '../commands/admin/get-external-user.ts'
import { getMessage } from '../commands/messages/get-message.ts'
import { getNotifications } from '../commands/conversations/get-notifications.ts'
import { getSession } from '../commands/sessions/get-session.ts'
import { getSessionData } from '../commands/sessions/get-session-data.ts'
import { getSubjectConversation } from '../commands/admin/get-subject-conversation.ts'
import { getUser } from '../commands/users/get-user.ts'
import { listCardKeys } from '../commands/keys/list-card-keys.ts'
import { listChanges } from '../commands/sync/list-changes.ts'
import { listConversations } from '../commands/conversations/list-conversations.ts'
import { listExternalUsers } from '../commands/admin/list-external-users.ts'
import { listLiveValues } from '../commands/live/list-live-values.ts'
import { listMembers } from '../commands/conversations/list-members.ts'
import { listMessages } from '../commands/messages/list-messages.ts'
import { listSessions } from '../commands/sessions/list-sessions.ts'
import { markRead } from '../commands/messages/mark-read.ts'
import { postMessage } from '../commands/admin/post-message.ts'
import { putMember } from '../commands/conversations/put-member.ts'
import { putSubjectConversation } from '../commands/admin/put-subject-conversation.ts'
import { putUser } from '../commands/admin/put-user.ts'
import { putUsers } from '../commands/admin/put-users.ts'
import { removeMember } from '../commands/conversations/remove-member.ts'
import { removeReaction } from '../commands/messages/remove-reaction.ts'
import { revokeSession } from '../commands/sessions/revoke-session.ts'
import { revokeTokens } from '../commands/admin/revoke-tokens.ts'
import { sendMessage } from '../commands/messages/send-message.ts'
import { setLiveValue } from '../commands/live/set-live-value.ts'
import { setNotifications } from '../commands/conversations/set-notifications.ts'
import { setStatus } from '../commands/live/set-status.ts'
import { signIn } from '../commands/sessions/sign-in.ts'
import { signOut } from '../commands/sessions/sign-out.ts'
import { signUp } from '../commands/sessions/sign-up.ts'
import { sync } from '../commands/sync/sync.ts'
import { updateCard } from '../commands/admin/update-card.ts'
import { updateConversation } from '../commands/conversations/update-conversation.ts'
import { updateProfile } from '../commands/users/update-profile.ts'
import { updateSessionData } from '../commands/sessions/update-session-data.ts'
import { watchPresence } from '../commands/live/watch-presence.ts'

export const commandTable: CommandTable = {
  'act-on-card': actOnCard,
  'add-reaction': addReaction,
  authenticate,
  'confirm-email': confirmEmail,
  'create-conversation': createConversation,
  'delete-message': deleteMessage,
  'delete-user': deleteUser,
  'edit-message': editMessage,
  'find-channels': findChannels,
  'find-users': findUsers,
  'get-conversation': getConversation,
  'get-external-user': getExternalUser,
  'get-message': getMessage,
  'get-notifications': getNotifications,
  'get-session': getSession,
  'get-session-data': getSessionData,
  'get-subject-conversation': getSubjectConversation,
  'get-user': getUser,
  'list-card-keys': listCardKeys,
  'list-changes': listChanges,
  'list-conversations': listConversations,
  'list-external-users': listExternalUsers,
  'list-live-values': listLiveValues,
  'list-members': listMembers,
  'list-messages': listMessages,
  'list-sessions': listSessions,
  'mark-read': markRead,
  'post-message': postMessage,
  'put-member': putMember,
  'put-subject-conversation': putSubjectConversation,
  'put-user': putUser,
  'put-users': putUsers,
  'remove-member': removeMember,
  'remove-reaction': removeReaction,
  'revoke-session': revokeSession,
  'revoke-tokens': revokeTokens,
  'send-message': sendMessage,
  'set-live-value': setLiveValue,
  'set-notifications': setNotifications,
  'set-status': setStatus,
  'sign-in': signIn,
  'sign-out': signOut,
  'sign-up': signUp,
  sync,
  'update-card': updateCard,
  'update-conversation': updateConversation,
  'update-profile': updateProfile,
  'update-session-data': updateSessionData,
  'watch-presence': watchPresence,
}
