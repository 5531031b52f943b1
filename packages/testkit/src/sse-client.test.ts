/** Tests the raw event-stream reader with a stream cut after every byte. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { SseClient } from './sse-client.ts'

it('`SseClient` reads an event stream that is cut at any byte', async () => {
  const stream =
    ': hello\n\nevent: ready\ndata: {"a":1}\nid: x1\n\ndata: {"b":\ndata: "é"}\r\n\r\n:\n\nevent: late\ndata: 3\n\n'
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    const bytes = Buffer.from(stream)
    const writeFrom = (index: number) => {
      if (index >= bytes.length) response.end()
      else response.write(bytes.subarray(index, index + 1), () => writeFrom(index + 1))
    }
    writeFrom(0)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = await SseClient.open(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await client.ended
  expect(client.events).toEqual([
    { name: 'ready', data: { a: 1 }, id: 'x1' },
    { name: 'message', data: { b: 'é' }, id: undefined },
    { name: 'late', data: 3, id: undefined },
  ])
  expect(client.lastEventId).toBe('x1')
  expect(client.commentCount).toBe(2)
  await new Promise((resolve) => server.close(resolve))
})
