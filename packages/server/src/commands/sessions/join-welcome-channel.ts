/**
 * Adds a newly signed-up user to the channel that WELCOME_CHANNEL names (rule WELCOME1). The first
 * user creates the channel, unless a public channel of this name exists. The channel's id is
 * computed from its name, so users who sign up at the same moment on different servers create only
 * one channel.
 */
import { createHash } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import { findChannelNamed } from '../../log/read-conversations.ts'
import { foldNameOf } from '../../accounts/fold-names.ts'
import type { CommandContext } from '../command.ts'
import { putMember } from '../conversations/put-member.ts'

/** Adds the user to the channel. Throws when this fails; the account exists nevertheless. */
export async function joinWelcomeChannel(context: CommandContext, user: Id, name: string): Promise<void> {
  const { parts } = context
  const existing = await findChannelNamed(parts.database, name)
  const conversation = existing ?? toChannelId(name)
  if (existing === undefined) {
    const { outcome } = await parts.log.apply({
      op: 'create',
      conversation,
      actor: user,
      kind: 'channel',
      name,
      directKey: null,
      members: [user],
    })
    if (outcome === 'stored') {
      await foldNameOf(parts.database, conversation, name)
      parts.feeds.announceMembership(conversation, user)
      return
    }
  }
  const actor = { ...context.actor, userId: user }
  await putMember.run({ ...context, actor }, { conversation, user: 'me' })
}

/**
 * Returns the channel's id for a name: a UUID of version 8, which RFC 9562 leaves to applications.
 */
function toChannelId(name: string): Id {
  const hex = createHash('sha256').update(`chorus welcome channel ${name}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
