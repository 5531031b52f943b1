/**
 * Adds or removes a reaction. A repeat changes nothing and returns the seq of the first one. Each
 * emoji has one canonical spelling. Removing a reaction also removes the same emoji where earlier
 * versions stored it in another spelling.
 */
import { canonicalEmoji } from '@chorus/protocol'
import { readOwnReactions } from '../../log/read-own-reactions.ts'
import type { CommandContext } from '../command.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { refuse } from '../refuse.ts'

interface ReactionInput {
  readonly conversation: string
  readonly seq: number
  readonly emoji: string
}

export async function changeReaction(
  context: CommandContext,
  op: 'react' | 'unreact',
  input: ReactionInput,
): Promise<{ seq: number }> {
  const wanted = canonicalEmoji(input.emoji) ?? input.emoji
  const answer = await applyReaction(context, op, { ...input, emoji: wanted })
  if (op === 'react' || answer.isStored) return { seq: answer.seq }
  let { seq } = answer
  const { conversation, seq: target } = input
  const stored = await readOwnReactions(context.parts.database, { conversation, target, user: context.actor.userId })
  for (const emoji of stored)
    if (emoji !== wanted && (canonicalEmoji(emoji) === wanted || emoji === input.emoji))
      seq = (await applyReaction(context, op, { ...input, emoji })).seq
  return { seq }
}

async function applyReaction(
  { parts, actor }: CommandContext,
  op: 'react' | 'unreact',
  { conversation, seq: target, emoji }: ReactionInput,
): Promise<{ readonly seq: number; readonly isStored: boolean }> {
  const { outcome, seq, at, xid } = await parts.log.apply({ op, conversation, actor: actor.userId, target, emoji })
  switch (outcome) {
    case 'stored': {
      const type = op === 'react' ? 'reaction.added' : 'reaction.removed'
      parts.feeds.announce([encodeChange(conversation, xid, { seq, at, actor: actor.userId, type, target, emoji })])
      return { seq, isStored: true }
    }
    case 'unchanged':
      return { seq, isStored: false }
    case 'not-found':
    case 'forbidden':
    case 'too-large':
    case 'conflict':
      throw refuse(outcome, op === 'react' ? 'react to the message' : 'remove the reaction')
  }
}
