/**
 * Converts a refusal by the log to the error for the client, the same on every transport (rule
 * ACL3).
 */
import { ChorusError } from '@chorus/protocol'
import type { OperationDetail, OperationOutcome, SendOutcome } from '../log/append-outcome.ts'

type Refusal = Exclude<SendOutcome | OperationOutcome, 'stored' | 'duplicate' | 'unchanged'>

const reasons: { readonly [R in Refusal]: ChorusError['code'] } = {
  'not-found': 'not-found',
  forbidden: 'forbidden',
  conflict: 'conflict',
  'too-large': 'too-large',
  'invalid-reply': 'invalid',
}

const sentences: { readonly [R in Refusal]: string } = {
  'not-found': 'it does not exist or may not be seen',
  forbidden: 'your role does not allow it',
  conflict: 'the same clientId was used for another request',
  'too-large': 'a limit is reached',
  'invalid-reply': 'replyTo does not name a message of this conversation',
}

/** Returns the error for a refusal. `what` completes the error text "unable to …". */
export function refuse(outcome: Refusal, what: string): ChorusError {
  return new ChorusError(reasons[outcome], `unable to ${what}; ${sentences[outcome]}`)
}

/** Returns the error for a request based on an older state of a card, with the current card. */
export function refuseStale(detail: OperationDetail | null, what: string): ChorusError {
  return new ChorusError('stale', `unable to ${what}; it has changed, see current`, {
    current: { card: detail?.card ?? null },
  })
}
