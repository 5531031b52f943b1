/**
 * Requests of API keys with an `Idempotency-Key`: the first request with a key runs, and later ones
 * get its response as of now, for 24 hours (rule IDEM3). The same key with another body is a `conflict`. A
 * response is kept if the command was done or finally refused. After a temporary error, the next
 * request runs.
 */
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { ChorusError, type Id } from '@chorus/protocol'
import type { FastifyRequest } from 'fastify'
import type { Parts } from '../commands/parts.ts'
import { type Call, claimCall, forgetCall, type StoredAnswer, storeAnswer } from '../keys/idempotency-store.ts'
import type { ApiKey } from '../keys/key-store.ts'
import { type MessagePlace, refreshAnswer } from './refresh-answer.ts'

/**
 * Maximum length of a stored response. A longer one is not kept; repeating its command has no
 * second effect.
 */
const answerMaxChars = 1_048_576

export const idempotencyTimings = {
  /** Maximum time for which a request waits for an earlier one with the same key. */
  waitMs: 10_000,
  pollMs: 50,
} as const

const keyPattern = /^[!-~]{1,255}$/

export interface HttpAnswer {
  readonly status: number
  /** Result of the command, or its JSON text. Undefined for a response without a body. */
  readonly body: unknown
}

/**
 * Runs a command, or returns the response to the earlier request with the same key. `user`: the user
 * that the request acts as.
 */
export async function runOnce(
  { database }: Pick<Parts, 'database'>,
  request: FastifyRequest,
  { apiKey, user }: { readonly apiKey: ApiKey; readonly user: Id },
  run: () => Promise<HttpAnswer>,
): Promise<HttpAnswer> {
  const key = request.headers['idempotency-key']
  if (key === undefined || request.method === 'GET' || request.method === 'HEAD') return run()
  if (typeof key !== 'string' || !keyPattern.test(key))
    throw new ChorusError('invalid', 'unable to answer; Idempotency-Key must have 1 to 255 printable characters')
  const call: Call = {
    keyId: apiKey.id,
    key,
    method: request.method,
    path: request.url,
    asUser: String(request.headers['chorus-as'] ?? ''),
    bodyHash: hashOf(request.body),
  }
  const earlier = await claim(database, call)
  if (earlier !== undefined) {
    const { status, body } = earlier
    if (typeof body !== 'string') return earlier
    return { status, body: await refreshAnswer(database, user, request.params as MessagePlace, body) }
  }
  try {
    const { status, body } = await run()
    const text = body === undefined ? undefined : JSON.stringify(body)
    if ((text?.length ?? 0) <= answerMaxChars) await storeAnswer(database, call, { status, body: text ?? null })
    else await forgetCall(database, call)
    return { status, body: text }
  } catch (error) {
    // A refusal that shows the current state is not kept: a later one shows a later state.
    if (error instanceof ChorusError && error.retry === 'never' && error.current === undefined)
      await storeAnswer(database, call, { status: error.status, body: JSON.stringify(error.toBody()) })
    else await forgetCall(database, call).catch(() => undefined)
    throw error
  }
}

function hashOf(body: unknown): Buffer {
  return createHash('sha256')
    .update(JSON.stringify(body ?? null))
    .digest()
}

/** Returns the stored response, or undefined if this request must run the command. */
async function claim(database: Parts['database'], call: Call): Promise<HttpAnswer | undefined> {
  const endsAtMs = performance.now() + idempotencyTimings.waitMs
  for (;;) {
    const found = await claimCall(database, call)
    switch (found.kind) {
      case 'claimed':
        return undefined
      case 'other-body':
        throw new ChorusError('conflict', 'unable to answer; this Idempotency-Key was used with another body')
      case 'answered':
        return toAnswer(found.answer)
      case 'running':
        if (performance.now() > endsAtMs)
          throw new ChorusError(
            'unavailable',
            'unable to answer; the first request with this Idempotency-Key still runs',
            {
              retryAfterMs: 1_000,
            },
          )
        await pause(idempotencyTimings.pollMs)
    }
  }
}

function toAnswer({ status, body }: StoredAnswer): HttpAnswer {
  if (status < 400) return { status, body: body ?? undefined }
  const error = JSON.parse(body ?? '{}') as { code: ChorusError['code']; message: string }
  throw new ChorusError(error.code, error.message)
}
