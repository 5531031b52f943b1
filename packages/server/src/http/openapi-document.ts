/**
 * Serves `GET /v1/openapi.json`. The document is built and compressed once, so that a request costs
 * little more than a comparison of its ETag. All responses share the same buffer, so slow clients
 * cost no memory.
 */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { buildOpenApiDocument } from '@chorus/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { acceptsGzip } from './compress-answers.ts'

export interface OpenApiOptions {
  readonly publicUrl: string | undefined
  readonly cookieName: string
  /** Throws if this client has sent too many requests. */
  readonly limit: (request: FastifyRequest) => void
}

export function addOpenApi(app: FastifyInstance, { publicUrl, cookieName, limit }: OpenApiOptions): void {
  const plain = Buffer.from(JSON.stringify(documentFor(publicUrl, cookieName)))
  const compressed = gzipSync(plain)
  const tag = `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`

  app.get('/v1/openapi.json', (request, reply): FastifyReply => {
    limit(request)
    // Clients must revalidate each time, because a newer version of the server has a different
    // document.
    reply.header('cache-control', 'no-cache').header('etag', `W/${tag}`).header('vary', 'Origin, Accept-Encoding')
    if (isKnown(request.headers['if-none-match'], tag)) return reply.code(304).send()
    reply.type('application/json; charset=utf-8')
    if (!acceptsGzip(request.headers['accept-encoding'])) return reply.send(plain)
    return reply.header('content-encoding', 'gzip').send(compressed)
  })
}

function documentFor(publicUrl: string | undefined, cookieName: string): object {
  // Without PUBLIC_URL, the document names the server by a relative address. It never contains the
  // Host header of a request, which a client could forge.
  const document = buildOpenApiDocument(publicUrl ?? '/')
  const { securitySchemes } = document.components as { securitySchemes: { session: { name: string } } }
  securitySchemes.session.name = cookieName
  return document
}

function isKnown(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((one) => {
    const known = one.trim()
    return known === '*' || known.replace(/^W\//, '') === tag
  })
}
