/** What reacting and taking a reaction back share. A repeat changes nothing and answers with the earlier seq. */
import type { CommandContext } from './command.ts'
import { encodeChange } from '../support/logged-change.ts'
import { refuse } from './refuse.ts'

export async function changeReaction(
  { parts, actor }: CommandContext,
  op: 'react' | 'unreact',
  { conversation, seq: target, emoji }: { conversation: string; seq: number; emoji: string },
): Promise<{ seq: number }> {
  const { outcome, seq, at, xid } = await parts.log.apply({ op, conversation, actor: actor.userId, target, emoji })
  switch (outcome) {
    case 'stored': {
      const type = op === 'react' ? 'reaction.added' : 'reaction.removed'
      parts.feeds.announce([encodeChange(conversation, xid, { seq, at, actor: actor.userId, type, target, emoji })])
      return { seq }
    }
    case 'unchanged':
      return { seq }
    case 'not-found':
    case 'forbidden':
    case 'too-large':
    case 'conflict':
      throw refuse(outcome, op === 'react' ? 'react to the message' : 'take the reaction back')
  }
}
