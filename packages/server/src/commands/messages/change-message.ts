/**
 * Runs an operation that rewrites a message, such as an edit or a deletion, and announces it. The
 * announced change contains the message in its new state, the same for every member.
 */
import type { Message, MessageChangeType } from '@chorus/protocol'
import type { OperationDetail } from '../../log/append-outcome.ts'
import type { CardOperation, LogOperation } from '../../log/operations.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { type MessageColumns, toMessage } from '../../support/message-columns.ts'
import type { Parts } from '../parts.ts'
import { refuse } from '../refuse.ts'

/**
 * Runs the operation on the message. The operation's name completes the error text "unable to … the
 * message".
 */
export async function changeMessage(
  parts: Parts,
  type: Exclude<MessageChangeType, 'message.created'>,
  operation: Exclude<Extract<LogOperation, { readonly target: number }>, { readonly op: CardOperation }>,
): Promise<{ seq: number; message: Message }> {
  const { op, conversation, actor, target } = operation
  const { outcome, seq, at, xid, detail } = await parts.log.apply(operation)
  switch (outcome) {
    case 'stored':
    case 'unchanged': {
      const message = toMessage(conversation, target, completed(detail))
      if (outcome === 'stored')
        parts.feeds.announce([encodeChange(conversation, xid, { seq, at, actor, type, message })])
      return { seq, message }
    }
    case 'not-found':
    case 'forbidden':
    case 'too-large':
    case 'conflict':
      throw refuse(outcome, `${op} the message`)
  }
}

/** Returns the columns of the message that an operation returned. */
export function completed(detail: OperationDetail | null): MessageColumns {
  if (detail?.version === undefined) throw new Error('the log returned no message')
  return detail as MessageColumns
}
