/**
 * Endpoints for operators: liveness, readiness and metrics. Metrics are served on a separate port,
 * so that they are not public by accident.
 */
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Metrics } from '../support/metrics.ts'
import { StartError } from '../support/start-error.ts'
import type { TraceHandler } from './trace.ts'

export interface Health {
  /** True if the server may receive traffic from a load balancer. */
  readonly ready: boolean
  /** Descriptions of the parts that do not work properly. */
  readonly degraded: readonly string[]
}

export interface OperatorsOptions {
  readonly health: () => Promise<Health>
}

export function addOperators(app: FastifyInstance, { health }: OperatorsOptions): void {
  app.get('/livez', async (_request, reply) => reply.header('cache-control', 'no-store').send({ alive: true }))

  app.get('/readyz', async (_request, reply) => {
    const { ready, degraded } = await health()
    return reply
      .code(ready ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({ degraded })
  })
}

/**
 * Serves `GET /metrics` and `GET /trace` on the port for operators. Resolves when the port is open.
 */
export async function startMetricsServer(
  metrics: Metrics,
  host: string,
  port: number,
  trace: TraceHandler,
): Promise<Server> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    if (request.method === 'GET' && request.url?.startsWith('/trace?') === true) {
      trace(new URLSearchParams(request.url.slice('/trace?'.length))).then(
        ({ status, body }) =>
          response
            .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
            .end(JSON.stringify(body)),
        () => response.writeHead(503).end(),
      )
      return
    }
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    metrics.render().then(
      (text) =>
        response
          .writeHead(200, { 'content-type': metrics.registry.contentType, 'cache-control': 'no-store' })
          .end(text),
      () => response.writeHead(503).end(),
    )
  })
  server.maxConnections = 100
  server.setTimeout(30_000)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(new StartError(`unable to listen on METRICS_PORT ${port} of ${host}; ${describeListenError(error)}`))
    })
    server.listen(port, host, () => resolve())
  })
  return server
}

/** Returns a readable reason why the server cannot listen on a port. */
export function describeListenError(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return 'the port is taken'
    case 'EACCES':
      return 'the server has no permission to listen there'
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return 'this machine does not have this address'
    default:
      return error.message
  }
}
