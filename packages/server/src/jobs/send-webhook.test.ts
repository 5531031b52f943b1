/**
 * Tests one attempt to deliver a webhook to misbehaving endpoints: each attempt ends within its
 * time limit, with a reason that an operator can read.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { sendLimits, sendWebhook } from './send-webhook.ts'
import { testSecret } from './testing/webhook-receiver.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

const send = (url: string, timeoutMs: number = sendLimits.timeoutMs) =>
  sendWebhook({ url, id: 'id', body: '{}', secrets: [testSecret], now: new Date(), timeoutMs })

it('a webhook attempt is accepted with status 2xx, gone with 410, otherwise failed', async () => {
  const answers = [200, 204, 299, 400, 410, 500]
  const url = await serve((_request, response) => response.writeHead(answers.shift() ?? 200).end('x'))
  const kinds = []
  while (answers.length > 0) kinds.push((await send(url)).kind)
  expect(kinds).toEqual(['accepted', 'accepted', 'accepted', 'failed', 'gone', 'failed'])
})

it('does not follow a redirect of a webhook endpoint', async () => {
  let led = 0
  const elsewhere = await serve((_request, response) => {
    led++
    response.end()
  })
  const url = await serve((_request, response) => response.writeHead(307, { location: elsewhere }).end())
  expect(await send(url)).toEqual({ kind: 'failed', status: 307, reason: 'redirects are not followed' })
  expect(led).toBe(0)
})

it('a webhook attempt fails if the endpoint never responds or is unreachable', async () => {
  const silent = await serve(() => undefined)
  expect(await send(silent, 200)).toEqual({ kind: 'failed', status: null, reason: 'no answer within 200 ms' })
  const gone = await serve(() => undefined)
  for (const close of closing.splice(0)) close()
  expect(await send(gone)).toMatchObject({ kind: 'failed', status: null, reason: 'ECONNREFUSED' })
})

it('stops reading an endless webhook response at its size limit', async () => {
  let written = 0
  const url = await serve((_request, response) => {
    response.writeHead(200)
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(16_384))) written += 16_384
    }
    response.on('drain', more)
    more()
  })
  expect(await send(url)).toEqual({ kind: 'accepted', status: 200 })
  expect(written).toBeLessThan(100 * sendLimits.answerMaxBytes)
})

it.each([10_080, 6_000, 6_667])('delivers a webhook to port %i, which fetch refuses', async (port) => {
  let got = ''
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => (got += chunk.toString()))
    request.on('end', () => response.end())
  })
  const isFree = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  if (!isFree) return
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  expect(await send(`http://127.0.0.1:${port}/hook`)).toEqual({ kind: 'accepted', status: 200 })
  expect(got).toBe('{}')
})
