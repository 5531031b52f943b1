/**
 * Compresses the JSON that commands answer with; files of the web application are compressed when they are built. Event
 * streams never pass here: a compressor holds events back until it has enough of them.
 *
 * The work is bounded: gzip at its fastest level, in threads, a few responses at a time. A response that finds them busy
 * leaves as it is. Why this is safe beside secrets (BREACH): docs/decisions/0024-compressed-answers.md.
 */
import { promisify } from 'node:util'
import { constants, gzip as gzipWithCallback } from 'node:zlib'
import type { FastifyInstance } from 'fastify'

export const compressionBounds = {
  /** A smaller response fits a few packets anyway. */
  minChars: 2_048,
  /** Responses that are compressed at a time. */
  atOnceMax: 4,
} as const

const gzip = promisify(gzipWithCallback)

/** Does the client take gzip? An encoding with `q=0` is one it refuses. */
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
    if (typeof payload !== 'string' || payload.length < compressionBounds.minChars) return payload
    if (reply.hasHeader('content-encoding') || request.method === 'HEAD') return payload
    if (!String(reply.getHeader('content-type')).startsWith('application/json')) return payload
    // Also where this one leaves as it is: what a cache keeps depends on it.
    reply.header('vary', 'Origin, Accept-Encoding')
    if (underWay >= compressionBounds.atOnceMax || !acceptsGzip(request.headers['accept-encoding'])) return payload
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
