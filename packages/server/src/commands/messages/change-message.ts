/**
 * Shared code of edits and deletions. The change carries the message as it is now, the same for
 * every member.
 */
import type { Id, Message } from '@chorus/protocol'
import type { Appended, OperationDetail, OperationOutcome } from '../../log/change-log.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { type MessageColumns, toMessage } from '../../support/message-columns.ts'
import type { Parts } from '../parts.ts'
import { refuse } from '../refuse.ts'

export interface MessageChange {
  readonly type: 'message.edited' | 'message.deleted'
  readonly conversation: Id
  readonly actor: Id
  /** Seq of the message that is edited or deleted. */
  readonly target: number
}

export function announceMessageChange(
  parts: Parts,
  { type, conversation, actor, target }: MessageChange,
  { outcome, seq, at, xid, detail }: Appended<OperationOutcome>,
): { seq: number; message: Message } {
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
      throw refuse(outcome, type === 'message.edited' ? 'edit the message' : 'delete the message')
  }
}

function completed(detail: OperationDetail | null): MessageColumns {
  if (detail?.version === undefined) throw new Error('the log returned no message')
  return detail as MessageColumns
}
