/**
 * Adds a member, changes a member's role, or lets the caller (`me`) join a public channel. The log
 * checks the right to do so under the conversation's lock (rules ACL1, ACL3, OWN1).
 */
import { operationRules } from '../../log/operations.ts'
import { isStranger } from '../../log/read-strangers.ts'
import { encodeChange } from '../../support/logged-change.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

const what = 'add or change the member'

export const putMember: Command<'put-member'> = {
  cost: { budget: 'sends', members: () => 1 },
  run: async ({ parts, actor, key }, { conversation, user: named, role }) => {
    const user = named === 'me' ? actor.userId : named
    // Adding strangers is limited, except for API keys (rule ADD1).
    const addition = { adder: actor.userId, user, conversation, roles: operationRules['put-member'].roles }
    if (key === undefined && parts.limits.limitsStrangers && (await isStranger(parts.database, addition)))
      parts.limits.takeStrangers(actor.userId, [user])
    const { outcome, seq, at, xid, detail } = await parts.log.apply({
      op: 'put-member',
      conversation,
      actor: actor.userId,
      user,
      role: role ?? null,
    })
    if (outcome !== 'stored' && outcome !== 'unchanged') throw refuse(outcome, what)
    if (outcome === 'stored') {
      const type = detail?.joined === true ? 'member.joined' : 'member.updated'
      parts.feeds.announce([
        encodeChange(conversation, xid, { seq, at, actor: actor.userId, type, user, role: detail?.role ?? 'member' }),
      ])
      if (type === 'member.joined') parts.feeds.announceMembership(conversation, user)
    }
    // The log returns the member as of the change, read under its lock. So the response needs no
    // later read, which could fail or find another state (rule ACK2).
    if (detail?.member === undefined) throw new Error('the log returned no member')
    return { member: detail.member }
  },
}
