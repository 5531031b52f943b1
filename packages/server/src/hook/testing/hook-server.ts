/** Pre-send hook for tests: it keeps the signed questions and answers as a test asks it to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type HookAnswer, type HookQuestion, hookQuestionSchema, verifyWebhook } from '@chorus/protocol'
import type { Clock } from '../../support/clock.ts'
import { systemClock } from '../../support/clock.ts'
import type { Metrics } from '../../support/metrics.ts'
import { PreSendHook } from '../pre-send-hook.ts'

export const hookSecret = `whsec_${Buffer.from('thirty-two bytes for the hook...').toString('base64')}`

/** Writes a response of any kind. */
export type Respond = (response: ServerResponse, question: HookQuestion) => unknown

export interface HookServer {
  readonly url: string
  /** Signed questions, in order of arrival. */
  readonly questions: HookQuestion[]
  /** Decides about a question. */
  decide: (question: HookQuestion) => HookAnswer | Promise<HookAnswer>
  /** Replaces `decide` by a response of any kind. Undefined: `decide` is used. */
  respond: Respond | undefined
  close(): Promise<void>
}

/** Starts a hook that allows every message and responds 401 to questions with a bad signature. */
export async function startHookServer(): Promise<HookServer> {
  const hook: HookServer = {
    url: '',
    questions: [],
    decide: () => ({ action: 'allow' }),
    respond: undefined,
    close: async () => {
      server.closeAllConnections()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
    },
  }
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    try {
      await verifyWebhook({ headers: request.headers, body, secrets: hookSecret })
    } catch {
      response.writeHead(401).end()
      return
    }
    const question = hookQuestionSchema.parse(JSON.parse(body))
    hook.questions.push(question)
    if (hook.respond === undefined) response.end(JSON.stringify(await hook.decide(question)))
    else await hook.respond(response, question)
  }
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(hook, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` })
}

/** Returns a hook of a server that asks this address. Its time limit suits a busy test machine. */
export function openHook(
  url: string,
  metrics: Metrics,
  options: { readonly failure?: 'open' | 'closed'; readonly clock?: Clock; readonly timeoutMs?: number } = {},
): PreSendHook {
  const { failure = 'closed', clock = systemClock, timeoutMs = 20_000 } = options
  return new PreSendHook({
    url,
    secret: hookSecret,
    failure,
    clock,
    now: () => new Date(),
    logger: { info: () => undefined, warn: () => undefined },
    metrics,
    timeoutMs,
  })
}
