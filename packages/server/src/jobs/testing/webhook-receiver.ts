/** Webhook endpoint for tests. It keeps the received webhooks and responds as a test asks it to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { verifyWebhook } from '@chorus/protocol'

export interface ReceivedWebhook {
  readonly id: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  readonly type: string
  readonly conversation: string
  readonly seq: number
  /** Response status that was sent. 0: no response. */
  readonly status: number
}

export interface WebhookReceiver {
  readonly url: string
  /** All received webhooks, in order of arrival. */
  readonly received: ReceivedWebhook[]
  /**
   * Returns the webhooks that were accepted with 2xx, as `conversation/seq`, in order of arrival.
   */
  accepted(): string[]
  /** Chooses the response status for a webhook. Undefined: send no response. */
  answer: (webhook: Omit<ReceivedWebhook, 'status'>) => number | undefined | Promise<number | undefined>
  close(): Promise<void>
}

export const testSecret = `whsec_${Buffer.from('thirty-two bytes for the tests..').toString('base64')}`

/** Starts an endpoint that responds 401 to requests not signed with `secret`. */
export async function startReceiver(secret: string | readonly string[] = testSecret): Promise<WebhookReceiver> {
  const received: ReceivedWebhook[] = []
  const receiver = {
    received,
    accepted: () =>
      received
        .filter(({ status }) => status >= 200 && status < 300)
        .map(({ conversation, seq }) => `${conversation}/${seq}`),
    answer: (): number | undefined => 204,
  } as Omit<WebhookReceiver, 'url' | 'close'> as WebhookReceiver

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    let id = ''
    try {
      ;({ id } = await verifyWebhook({ headers: request.headers, body, secrets: secret }))
    } catch {
      response.writeHead(401).end()
      return
    }
    const { type, data } = JSON.parse(body) as { type: string; data: { conversation: string; change: { seq: number } } }
    const webhook = { id, headers: request.headers, body, type, conversation: data.conversation, seq: data.change.seq }
    const status = await receiver.answer(webhook)
    received.push({ ...webhook, status: status ?? 0 })
    if (status === undefined) return
    response
      .writeHead(status, status >= 300 && status < 400 ? { location: 'http://127.0.0.1:9/elsewhere' } : {})
      .end('{}')
  }
  const server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(receiver, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}
