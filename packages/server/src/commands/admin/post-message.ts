/**
 * Sends a message of the integrator, as the bot of the key or as a user. A card is signed before it
 * is appended (rule CARD2). The same `clientId` gets the first response (rule IDEM1), also if the
 * key was replaced since: a message of another key's bot is repeated as that bot.
 */
import { type CommandInput, ChorusError, type Id, type Json, type Message } from '@chorus/protocol'
import { findExternalUser } from '../../accounts/external-users.ts'
import { findSendingBot } from '../../log/find-sending-bot.ts'
import type { LogOperation } from '../../log/operations.ts'
import { hashValue } from '../../log/same-request.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { toMessage } from '../../support/message-columns.ts'
import type { Command, CommandContext } from '../command.ts'
import { completed } from '../messages/change-message.ts'
import { checkSend } from '../messages/check-with-hook.ts'
import { sendMessage } from '../messages/send-message.ts'
import type { Parts } from '../parts.ts'
import { refuse } from '../refuse.ts'
import { applyAsBot, joinAsBot } from './apply-as-bot.ts'
import { resolveActions, unknownActor } from './resolve-actions.ts'

const what = 'send the message'

type Input = CommandInput<'post-message'>
type CardSend = Extract<LogOperation, { readonly op: 'send-card' }>

export const postMessage: Command<'post-message'> = {
  cost: { budget: 'key' },
  run: async (context, input) => {
    const asked = await readSender(context, input)
    const isBot = asked === (context.key?.botUser ?? context.actor.userId)
    const { card, conversation, clientId, data, text = '' } = input
    const sender = (isBot ? await findSendingBot(context.parts.database, conversation, clientId) : undefined) ?? asked
    if (card !== undefined) return sendCard(context, sender, isBot, { ...input, card })
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
  context: CommandContext,
  sender: Id,
  isBot: boolean,
  { conversation, clientId, text = '', data = null, card: request }: Input & { card: NonNullable<Input['card']> },
) {
  const { parts } = context
  const { type, title, fields = {}, state } = request
  const actions = await resolveActions(parts.database, request.actions ?? [])
  // A repeated request gets the first message even if one of its users has been erased since.
  const card =
    actions === undefined
      ? null
      : await parts.cards.sign(conversation, clientId, { version: 1, type, title, fields, actions, state })
  const hash = hashValue({ text, data, card: { type, title, fields, actions: request.actions ?? [], state } })
  const store = (content: { readonly text: string; readonly data: Json }) =>
    storeCard(parts, isBot, {
      op: 'send-card',
      conversation,
      actor: sender,
      clientId,
      hash,
      text: content.text,
      data: content.data === null ? null : JSON.stringify(content.data),
      card: card === null ? null : JSON.stringify(card),
    })
  // The card is the integrator's. Its message may have text or data, which is the user's.
  if (isBot || card === null || (text === '' && data === null)) return store({ text, data })
  const unchecked = { conversation, actor: sender, clientId, text, data, mayBeEmpty: true, hash }
  return checkSend(context, unchecked, store)
}

async function storeCard(
  parts: Parts,
  isBot: boolean,
  operation: CardSend,
): Promise<{ message: Message; duplicate?: true }> {
  const { conversation, actor: sender, card } = operation
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
