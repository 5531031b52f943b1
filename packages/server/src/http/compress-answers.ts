/**
 * Compresses the JSON responses of commands. Files of the web application are compressed when they
 * are built. Event streams are never compressed, because a compressor holds events back until it
 * has enough data.
 *
 * The work is bounded: gzip at its fastest level, in threads, a few responses at a time. When the
 * maximum number is being compressed, further responses are sent uncompressed.
 * docs/decisions/0024-compressed-answers.md explains why this is safe for responses with secrets
 * (BREACH).
 */
import { promisify } from 'node:util'
import { constants, gzip as gzipWithCallback } from 'node:zlib'
import type { FastifyInstance } from 'fastify'

export const compressionLimits = {
  /**
   * Minimum length of a response to be compressed. A smaller one fits into a few network packets
   * anyway.
   */
  minChars: 2_048,
  /** Maximum number of responses compressed at the same time. */
  atOnceMax: 4,
} as const

const gzip = promisify(gzipWithCallback)

/** Returns true if the client accepts gzip. An encoding with `q=0` is refused by the client. */
export function acceptsGzip(header: string | undefined): boolean {
  if (header === undefined) return false
  const weights = new Map(
    header
      .toLowerCase()
      .split(',')
      .map((part): [string, number] => {
        const [name = '', ...parameters] = part.split(';').map((piece) => piece.trim())
        const quality = parameters.find((parameter) => parameter.startsWith('q='))
        return [name, quality === undefined ? 1 : Number(quality.slice(2))]
      }),
  )
  return (weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0) > 0
}

export function compressAnswers(app: FastifyInstance): void {
  let underWay = 0
  app.addHook('onSend', async (request, reply, payload) => {
    if (typeof payload !== 'string' || payload.length < compressionLimits.minChars) return payload
    if (reply.hasHeader('content-encoding') || request.method === 'HEAD') return payload
    if (!String(reply.getHeader('content-type')).startsWith('application/json')) return payload
    // An uncompressed response also gets the Vary header, because caches must know that the
    // encoding depends on the request's Accept-Encoding.
    reply.header('vary', 'Origin, Accept-Encoding')
    if (underWay >= compressionLimits.atOnceMax || !acceptsGzip(request.headers['accept-encoding'])) return payload
    underWay++
    try {
      const compressed = await gzip(payload, { level: constants.Z_BEST_SPEED })
      reply.header('content-encoding', 'gzip').removeHeader('content-length')
      return compressed
    } finally {
      underWay--
    }
  })
}
