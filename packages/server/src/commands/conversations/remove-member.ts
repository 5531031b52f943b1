/**
 * Removes a member, or the caller (`me`) from a conversation. No change after the removal reaches
 * the removed user on any transport (rule ACL1).
 */
import { encodeChange } from '../../support/logged-change.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

export const removeMember: Command<'remove-member'> = {
  cost: { budget: 'sends' },
  run: async ({ parts, actor }, { conversation, user: named }) => {
    const user = named === 'me' ? actor.userId : named
    const { outcome, seq, at, xid, detail } = await parts.log.apply({
      op: 'remove-member',
      conversation,
      actor: actor.userId,
      user,
    })
    if (outcome !== 'stored') throw refuse(outcome === 'unchanged' ? 'not-found' : outcome, 'remove the member')
    const role = detail?.role ?? 'member'
    parts.feeds.announce([
      encodeChange(conversation, xid, { seq, at, actor: actor.userId, type: 'member.left', user, role }),
    ])
    return null
  },
}
