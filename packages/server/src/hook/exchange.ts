/**
 * Sends one question to the pre-send hook and reads the answer. Time and size are bounded,
 * redirects are not followed, and only status 200 counts. An operator set the address, so it may be
 * http and private.
 *
 * Uses node:http because `fetch` refuses about eighty ports that browsers must not use.
 */
import { type Agent as HttpAgent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { hookLimits, type SignedHeaders } from '@chorus/protocol'
import { readBody } from '../support/read-body.ts'

/**
 * Failure of an exchange. `unanswered`: the hook seems to be down or overloaded, so further
 * questions would only wait. `unusable`: the hook works, but its answer to this question does not.
 */
export class HookFailure extends Error {
  readonly kind: 'unanswered' | 'unusable'

  constructor(kind: HookFailure['kind'], reason: string, cause?: unknown) {
    super(reason, { cause })
    this.name = 'HookFailure'
    this.kind = kind
  }
}

export interface Exchange {
  readonly url: URL
  readonly body: string
  readonly headers: SignedHeaders
  /** Agent for the protocol of the URL. */
  readonly agent: HttpAgent
  readonly timeoutMs?: number
}

/** Statuses that proxies send for a hook that is down or overloaded. */
const statusesOfProxies: readonly number[] = [502, 503, 504]

/** Returns the text of the answer. Rejects with {@link HookFailure}. */
export async function exchange(question: Exchange): Promise<string> {
  const timeoutMs = question.timeoutMs ?? hookLimits.timeoutMs
  const timeout = AbortSignal.timeout(timeoutMs)
  for (let isRepeated = false; ; isRepeated = true) {
    const sent: { request?: ClientRequest } = {}
    try {
      return await post(question, timeout, sent)
    } catch (error) {
      if (timeout.aborted) throw new HookFailure('unanswered', `no complete answer within ${timeoutMs} ms`, error)
      if (error instanceof HookFailure) throw error
      // The hook may close an idle connection at the moment when a question uses it.
      if (sent.request?.reusedSocket === true && !isRepeated) continue
      throw new HookFailure('unanswered', error instanceof Error ? error.message.slice(0, 200) : 'no answer', error)
    }
  }
}

function post(
  { url, body, headers, agent }: Exchange,
  signal: AbortSignal,
  sent: { request?: ClientRequest },
): Promise<string> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST',
      agent,
      signal,
      headers: {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
        accept: 'application/json',
        'accept-encoding': 'identity',
        'user-agent': 'Chorus-Hook/1',
        ...headers,
      },
    }
    sent.request = send(url, options, (response) => void readAnswer(response).then(resolve, reject))
    sent.request.on('error', reject)
    sent.request.end(body)
  })
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  const text = await readBody(response, hookLimits.answerMaxBytes, (reason) => new HookFailure('unusable', reason))
  const { statusCode: status = 0 } = response
  if (status !== 200) throw failureOfStatus(status)
  return text
}

function failureOfStatus(status: number): HookFailure {
  if (status >= 300 && status < 400) return new HookFailure('unusable', 'redirects are not followed')
  const kind = statusesOfProxies.includes(status) ? 'unanswered' : 'unusable'
  return new HookFailure(kind, `the answer has status ${status}`)
}
