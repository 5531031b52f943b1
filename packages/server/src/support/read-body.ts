/**
 * Reads the body of an HTTP response up to a maximum size. Guarantee: the server holds no more of it
 * than that, and a response that is longer or cut rejects.
 */
import type { IncomingMessage } from 'node:http'

/** Returns the body as text. `refusal` makes the error for a body of more than `maxBytes` bytes. */
export function readBody(
  response: IncomingMessage,
  maxBytes: number,
  refusal: (reason: string) => Error = (reason) => new Error(reason),
): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBytes) response.destroy(refusal(`the answer is larger than ${maxBytes} bytes`))
      else chunks.push(chunk)
    })
    response.on('error', reject)
    response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    response.on('close', () => reject(new Error('the answer was cut')))
  })
}
