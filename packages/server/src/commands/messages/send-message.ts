/**
 * Sends a message to a conversation: asks the pre-send hook if there is one, stores the message once,
 * and announces it to every server that shows the conversation (rules ACK1, IDEM1, ORD1, PUB1,
 * HOOK1).
 */
import { ChorusError, type Message } from '@chorus/protocol'
import { toStoredMessage } from '../../log/change-log.ts'
import type { Appended, SendOutcome } from '../../log/append-outcome.ts'
import type { SendRow } from '../../log/append-statement.ts'
import { readStoredText } from '../../log/read-hook-facts.ts'
import { encodeSentMessage } from '../../support/logged-change.ts'
import type { Command } from '../command.ts'
import type { Parts } from '../parts.ts'
import { refuse } from '../refuse.ts'
import { checkSend, hashOfSend } from './check-with-hook.ts'

export const sendMessage: Command<'send-message'> = {
  cost: { budget: 'sends' },
  run: async (context, input) => {
    // Uploads are not implemented yet, so no attachment can exist.
    if ((input.attachments?.length ?? 0) > 0)
      throw new ChorusError('invalid', 'unable to send the message; an attachment does not exist')
    const { parts, actor } = context
    const send = {
      conversation: input.conversation,
      actor: actor.userId,
      clientId: input.clientId,
      text: input.text,
      replyTo: input.replyTo ?? null,
      data: input.data ?? null,
    }
    if (parts.hook === undefined) return storeMessage(parts, send)
    const unchecked = { ...send, mayBeEmpty: false, hash: hashOfSend(send) }
    return checkSend(context, unchecked, ({ text, data }) =>
      storeMessage(parts, { ...send, text, data, original: send }),
    )
  },
}

async function storeMessage(parts: Parts, send: SendRow): Promise<{ message: Message; duplicate?: true }> {
  // The log looks for an earlier message with the same id before it checks access, both under the
  // conversation's lock (IDEM1, ACL3).
  let appended: Appended<SendOutcome>
  try {
    appended = await parts.log.append(send)
  } catch (error) {
    parts.metrics.sends.inc({ outcome: error instanceof ChorusError ? error.code : 'unknown' })
    throw error
  }
  const { outcome, seq, at, xid } = appended
  parts.metrics.sends.inc({ outcome })
  switch (outcome) {
    case 'stored': {
      const message = toStoredMessage(send, seq, at)
      parts.feeds.announce([encodeSentMessage(xid, at, message)]) // PUB1: announce only after the commit
      return { message } // ACK1: the transaction has committed
    }
    case 'duplicate': {
      // The hook may have replaced the text of the first request.
      const stored = parts.hook === undefined ? undefined : await readStoredText(parts.database, send)
      return { message: toStoredMessage({ ...send, ...stored }, seq, at), duplicate: true }
    }
    case 'conflict':
    case 'not-found':
    case 'invalid-reply':
      throw refuse(outcome, 'send the message')
  }
}
