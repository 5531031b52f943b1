/**
 * Creates a conversation on the server.
 *
 * Guarantee: all attempts send the same clientId, so the server creates at most one conversation
 * (rule IDEM2).
 */
import { ChorusError, type CommandRequest, type Conversation } from '@chorus/protocol'
import { backoffDelayMs } from '../support/backoff.ts'
import { createClientId } from '../support/client-id.ts'
import type { Lifetime } from '../support/lifetime.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { retryOnceMaxMs } from '../wire/retry-once.ts'

/** Number of attempts to create a conversation before the application gets the error. */
const createAttemptsMax = 4

export async function createConversation(
  api: HttpApi,
  life: Lifetime,
  request: CommandRequest<'create-conversation'>,
): Promise<Conversation> {
  const clientId = createClientId()
  for (let attempt = 0, unsure: ChorusError | undefined; ; attempt += 1) {
    try {
      return (await api.call('create-conversation', { ...request, clientId })).conversation
    } catch (error) {
      if (!(error instanceof ChorusError)) throw error
      if (error.code === 'invalid') {
        // A server of protocol version 1 refuses the clientId. Without a clientId, a request that
        // may have succeeded is never retried, because a retry could create a second conversation.
        if (unsure !== undefined) throw unsure
        return (await api.call('create-conversation', request)).conversation
      }
      if (error.code === 'unknown') unsure = error
      else if (error.code !== 'unavailable') throw error
      if (attempt + 1 >= createAttemptsMax || (error.retryAfterMs ?? 0) > retryOnceMaxMs) throw error
      const delayMs = backoffDelayMs(attempt, life.waits, error.retryAfterMs)
      await new Promise<void>((resolve) => void life.waits.after(delayMs, resolve))
      life.assert('create conversation')
    }
  }
}
