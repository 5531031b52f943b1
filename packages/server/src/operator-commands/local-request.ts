/**
 * The protocol in which a running server runs operator commands for another process, over the
 * socket of the data directory: one request and one response per connection, each one line of JSON.
 * It is needed because only one process can open the embedded database.
 */
import type { Socket } from 'node:net'
import * as z from 'zod'

export const localRequestLimits = {
  /** Maximum size of a request. The file of a public key has a few kilobytes. */
  requestMaxBytes: 65_536,
  /** Maximum size of a response. */
  responseMaxBytes: 1_048_576,
  /** Maximum number of connections that are served at the same time. */
  connectionsMax: 8,
} as const

export const localRequestTimings = {
  /** Maximum time for a request to arrive. */
  arriveMs: 10_000,
  /** Maximum time from a request to its whole response. */
  answerMs: 60_000,
} as const

export const localRequestSchema = z.strictObject({
  command: z.string().max(32),
  args: z.array(z.string().max(32_768)).max(32),
})

export const localResponseSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('done'), text: z.string() }),
  /** Failure. `isUsage`: the arguments are wrong, and the message may have several lines. */
  z.strictObject({ kind: z.literal('failed'), message: z.string(), isUsage: z.boolean() }),
])
export type LocalResponse = z.infer<typeof localResponseSchema>

/**
 * Resolves to the first line that arrives, without its line end. Rejects if the connection ends
 * before, or if the line has more than `maxBytes` or arrives later than `withinMs`.
 */
export function readLine(socket: Socket, maxBytes: number, withinMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const timer = setTimeout(() => finish(new Error('no answer')), withinMs)
    const finish = (result: Error | string): void => {
      clearTimeout(timer)
      socket.off('data', onData).off('end', onEnd).off('error', finish)
      if (typeof result === 'string') resolve(result)
      else reject(result)
    }
    const onEnd = (): void => finish(new Error('the connection ended'))
    const onData = (chunk: Buffer): void => {
      const end = chunk.indexOf(0x0a)
      const part = end === -1 ? chunk : chunk.subarray(0, end)
      bytes += part.length
      if (bytes > maxBytes) return finish(new Error(`more than ${maxBytes} bytes`))
      chunks.push(part)
      if (end !== -1) finish(Buffer.concat(chunks).toString('utf8'))
    }
    socket.on('data', onData).on('end', onEnd).on('error', finish)
  })
}
