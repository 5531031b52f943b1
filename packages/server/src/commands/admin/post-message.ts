/**
 * Sends a message of the integrator, as the bot of the key or as a user. A card is signed before it
 * is appended (rule CARD2). The same `clientId` gets the first response (rule IDEM1), also if the
 * key was replaced since: a message of another key's bot is repeated as that bot.
 */
import { type CommandInput, ChorusError, type Id } from '@chorus/protocol'
import { findExternalUser } from '../../accounts/external-users.ts'
import { findSendingBot } from '../../log/find-sending-bot.ts'
import { hashValue } from '../../log/same-request.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { toMessage } from '../../support/message-columns.ts'
import type { Command, CommandContext } from '../command.ts'
import { completed } from '../messages/change-message.ts'
import { sendMessage } from '../messages/send-message.ts'
import type { Parts } from '../parts.ts'
import { refuse } from '../refuse.ts'
import { applyAsBot, joinAsBot } from './apply-as-bot.ts'
import { resolveActions, unknownActor } from './resolve-actions.ts'

const what = 'send the message'

type Input = CommandInput<'post-message'>

export const postMessage: Command<'post-message'> = {
  cost: { budget: 'key' },
  run: async (context, input) => {
    const asked = await readSender(context, input)
    const isBot = asked === (context.key?.botUser ?? context.actor.userId)
    const { card, conversation, clientId, data, text = '' } = input
    const sender = (isBot ? await findSendingBot(context.parts.database, conversation, clientId) : undefined) ?? asked
    if (card !== undefined) return sendCard(context.parts, sender, isBot, { ...input, card })
    const acting = { ...context, actor: { userId: sender, sessionId: '' } }
    const send = { conversation, clientId, text, ...(data !== undefined && { data }) }
    try {
      return await sendMessage.run(acting, send)
    } catch (error) {
      const isRefused = error instanceof ChorusError && error.code === 'not-found'
      if (!isRefused || !isBot || !(await joinAsBot(context.parts, conversation, sender))) throw error
      return sendMessage.run(acting, send)
    }
  },
}

/** Returns the user of `as` or `Chorus-As`, or the bot of the key. */
async function readSender({ parts, actor, key }: CommandContext, { as }: Input): Promise<Id> {
  if (as === undefined) return actor.userId
  const user = await findExternalUser(parts.database, as)
  const hasHeader = key !== undefined && actor.userId !== key.botUser
  if (hasHeader && actor.userId !== user)
    throw new ChorusError('invalid', `unable to ${what}; as and Chorus-As name different users`)
  if (user === undefined) throw new ChorusError('not-found', `unable to ${what}; there is no user with the id in as`)
  return user
}

async function sendCard(
  parts: Parts,
  sender: Id,
  isBot: boolean,
  { conversation, clientId, text = '', data = null, card: request }: Input & { card: NonNullable<Input['card']> },
) {
  const { type, title, fields = {}, state } = request
  const actions = await resolveActions(parts.database, request.actions ?? [])
  // A repeated request gets the first message even if one of its users has been erased since.
  const card =
    actions === undefined
      ? null
      : await parts.cards.sign(conversation, clientId, { version: 1, type, title, fields, actions, state })
  const operation = {
    op: 'send-card',
    conversation,
    actor: sender,
    clientId,
    hash: hashValue({ text, data, card: { type, title, fields, actions: request.actions ?? [], state } }),
    text,
    data: data === null ? null : JSON.stringify(data),
    card: card === null ? null : JSON.stringify(card),
  } as const
  const mayJoin = isBot && card !== null
  const { outcome, seq, at, xid, detail } = await (mayJoin ? applyAsBot(parts, operation) : parts.log.apply(operation))
  parts.metrics.sends.inc({ outcome: outcome === 'unchanged' ? 'duplicate' : outcome })
  switch (outcome) {
    case 'stored': {
      const message = toMessage(conversation, seq, completed(detail))
      parts.feeds.announce([
        encodeChange(conversation, xid, { seq, at, actor: sender, type: 'message.created', message }),
      ])
      return { message }
    }
    case 'unchanged':
      return { message: toMessage(conversation, seq, completed(detail)), duplicate: true as const }
    case 'stale':
      throw new Error('a new card cannot be stale')
    case 'not-found':
      throw card === null ? unknownActor(what) : refuse(outcome, what)
    case 'forbidden':
    case 'too-large':
    case 'conflict':
      throw refuse(outcome, what)
  }
}
