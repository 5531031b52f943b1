/**
 * All commands that a client can send (the "up" side of the wire). Adding a line here makes the
 * compiler report every table that is now incomplete.
 */
import type * as z from 'zod'
import { addReaction } from './add-reaction.ts'
import { confirmEmail } from './confirm-email.ts'
import { createConversation } from './create-conversation.ts'
import { deleteMessage } from './delete-message.ts'
import { editMessage } from './edit-message.ts'
import { findChannels } from './find-channels.ts'
import { findUsers } from './find-users.ts'
import { getConversation } from './get-conversation.ts'
import { getMessage } from './get-message.ts'
import { getNotifications } from './get-notifications.ts'
import { getSessionData } from './get-session-data.ts'
import { getSession } from './get-session.ts'
import { getUser } from './get-user.ts'
import { listChanges } from './list-changes.ts'
import { listConversations } from './list-conversations.ts'
import { listLiveValues } from './list-live-values.ts'
import { listMembers } from './list-members.ts'
import { listMessages } from './list-messages.ts'
import { listSessions } from './list-sessions.ts'
import { markRead } from './mark-read.ts'
import { putMember } from './put-member.ts'
import { removeMember } from './remove-member.ts'
import { removeReaction } from './remove-reaction.ts'
import { revokeSession } from './revoke-session.ts'
import { sendMessage } from './send-message.ts'
import { setLiveValue } from './set-live-value.ts'
import { setNotifications } from './set-notifications.ts'
import { setStatus } from './set-status.ts'
import { signIn } from './sign-in.ts'
import { signOut } from './sign-out.ts'
import { signUp } from './sign-up.ts'
import { sync } from './sync.ts'
import { updateConversation } from './update-conversation.ts'
import { updateProfile } from './update-profile.ts'
import { updateSessionData } from './update-session-data.ts'
import { watchPresence } from './watch-presence.ts'

export const commands = {
  'add-reaction': addReaction,
  'confirm-email': confirmEmail,
  'create-conversation': createConversation,
  'delete-message': deleteMessage,
  'edit-message': editMessage,
  'find-channels': findChannels,
  'find-users': findUsers,
  'get-conversation': getConversation,
  'get-message': getMessage,
  'get-session-data': getSessionData,
  'get-notifications': getNotifications,
  'get-session': getSession,
  'get-user': getUser,
  'list-changes': listChanges,
  'list-conversations': listConversations,
  'list-live-values': listLiveValues,
  'list-members': listMembers,
  'list-messages': listMessages,
  'list-sessions': listSessions,
  'mark-read': markRead,
  'put-member': putMember,
  'remove-member': removeMember,
  'remove-reaction': removeReaction,
  'revoke-session': revokeSession,
  'send-message': sendMessage,
  'set-live-value': setLiveValue,
  'set-notifications': setNotifications,
  'set-status': setStatus,
  'sign-in': signIn,
  'sign-out': signOut,
  'sign-up': signUp,
  sync,
  'update-conversation': updateConversation,
  'update-profile': updateProfile,
  'update-session-data': updateSessionData,
  'watch-presence': watchPresence,
} as const

export type Commands = typeof commands
export type CommandName = keyof Commands
/** Input of a command's handler: parsed, with defaults filled in. */
export type CommandInput<Name extends CommandName> = z.output<Commands[Name]['input']>
/** Input as a caller writes it: fields with defaults may be left out. */
export type CommandRequest<Name extends CommandName> = z.input<Commands[Name]['input']>
export type CommandResult<Name extends CommandName> = z.output<Commands[Name]['result']>

/** Names of the commands that have a Socket.IO event. */
export type EventCommandName = {
  [Name in CommandName]: Commands[Name] extends {
    readonly event?: { readonly toAck: (result: never) => infer Ack } | undefined
  }
    ? [Ack] extends [never]
      ? never
      : Name
    : never
}[CommandName]

export type CommandAck<Name extends EventCommandName> =
  NonNullable<Commands[Name]['event']> extends {
    readonly toAck: (result: never) => infer Ack
  }
    ? Ack
    : never
