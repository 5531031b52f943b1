/**
 * All commands that a client can send (the "up" side of the wire). Generated from the definitions in
 * the folders of this folder by `npm run docs`. Do not edit.
 */
import { actOnCard } from './messages/act-on-card.ts'
import { addReaction } from './messages/add-reaction.ts'
import { authenticate } from './sessions/authenticate.ts'
import { confirmEmail } from './users/confirm-email.ts'
import { createConversation } from './conversations/create-conversation.ts'
import { deleteMessage } from './messages/delete-message.ts'
import { deleteUser } from './admin/delete-user.ts'
import { editMessage } from './messages/edit-message.ts'
import { findChannels } from './conversations/find-channels.ts'
import { findUsers } from './users/find-users.ts'
import { getConversation } from './conversations/get-conversation.ts'
import { getExternalUser } from './admin/get-external-user.ts'
import { getMessage } from './messages/get-message.ts'
import { getNotifications } from './conversations/get-notifications.ts'
import { getSession } from './sessions/get-session.ts'
import { getSessionData } from './sessions/get-session-data.ts'
import { getSubjectConversation } from './admin/get-subject-conversation.ts'
import { getUser } from './users/get-user.ts'
import { listCardKeys } from './keys/list-card-keys.ts'
import { listChanges } from './sync/list-changes.ts'
import { listConversations } from './conversations/list-conversations.ts'
import { listExternalUsers } from './admin/list-external-users.ts'
import { listLiveValues } from './live/list-live-values.ts'
import { listMembers } from './conversations/list-members.ts'
import { listMessages } from './messages/list-messages.ts'
import { listSessions } from './sessions/list-sessions.ts'
import { markRead } from './messages/mark-read.ts'
import { postMessage } from './admin/post-message.ts'
import { putMember } from './conversations/put-member.ts'
import { putSubjectConversation } from './admin/put-subject-conversation.ts'
import { putUser } from './admin/put-user.ts'
import { putUsers } from './admin/put-users.ts'
import { removeMember } from './conversations/remove-member.ts'
import { removeReaction } from './messages/remove-reaction.ts'
import { revokeSession } from './sessions/revoke-session.ts'
import { revokeTokens } from './admin/revoke-tokens.ts'
import { sendMessage } from './messages/send-message.ts'
import { setLiveValue } from './live/set-live-value.ts'
import { setNotifications } from './conversations/set-notifications.ts'
import { setStatus } from './live/set-status.ts'
import { signIn } from './sessions/sign-in.ts'
import { signOut } from './sessions/sign-out.ts'
import { signUp } from './sessions/sign-up.ts'
import { sync } from './sync/sync.ts'
import { updateCard } from './admin/update-card.ts'
import { updateConversation } from './conversations/update-conversation.ts'
import { updateProfile } from './users/update-profile.ts'
import { updateSessionData } from './sessions/update-session-data.ts'
import { watchPresence } from './live/watch-presence.ts'

export const commands = {
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
} as const
