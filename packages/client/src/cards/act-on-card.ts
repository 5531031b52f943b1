/**
 * Takes an action of a card.
 *
 * Guarantee: all attempts send the same clientId, so the server stores at most one act (rule CARD1).
 * Only an attempt without a response is repeated; a refusal, such as `stale`, is final.
 */
import { type Card, ChorusError, type CommandRequest } from '@chorus/protocol'
import type { ActOutcome, CardAct } from '../model/api-cards.ts'
import { backoffDelayMs } from '../support/backoff.ts'
import { createClientId } from '../support/client-id.ts'
import type { Clock } from '../support/clock.ts'
import type { SendRequest } from '../wire/send-request.ts'
import { isObject } from '../wire/server-events.ts'

/** Number of attempts before the application gets the error `unknown`. */
const actAttemptsMax = 3

interface ActParts {
  readonly request: SendRequest
  readonly clock: Pick<Clock, 'after' | 'random'>
}

export async function actOnCard(
  { request, clock }: ActParts,
  conversation: string,
  { seq, version, action }: CardAct,
): Promise<ActOutcome> {
  const input: CommandRequest<'act-on-card'> = { conversation, seq, version, action, clientId: createClientId() }
  for (let attempt = 1; ; attempt += 1) {
    try {
      return { status: 'done', seq: (await request('act-on-card', input)).seq }
    } catch (error) {
      if (!(error instanceof ChorusError)) throw error
      if (error.code === 'stale') return { status: 'stale', card: readCard(error.current) }
      if (error.code !== 'unknown' || attempt >= actAttemptsMax) throw error
      const delayMs = backoffDelayMs(attempt, clock)
      await new Promise<void>((resolve) => void clock.after(delayMs, resolve))
    }
  }
}

/** Returns the card in the `current` of an error. A server may send none. */
function readCard(current: unknown): Card | undefined {
  const card = isObject(current) ? current['card'] : undefined
  return isObject(card) && Number.isSafeInteger(card['version']) ? (card as unknown as Card) : undefined
}
