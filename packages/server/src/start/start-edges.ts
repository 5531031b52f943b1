/**
 * Starts the parts that open ports or test them: HTTP, Socket.IO, the operators' port, and the
 * canary, which regularly sends a test message.
 */
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Authenticator } from '../auth/authenticator.ts'
import { Canary } from '../canary/canary.ts'
import { drain } from '../connections/drain.ts'
import { commandTable } from '../dispatch/command-table.ts'
import type { InFlightCommands } from '../dispatch/in-flight-commands.ts'
import { buildHttpApp } from '../http/app.ts'
import { addEventStream } from '../http/event-stream.ts'
import type { HealthReport } from '../http/health-report.ts'
import { addMailPages } from '../http/mail-pages.ts'
import { describeListenError, startMetricsServer } from '../http/operators.ts'
import { createTraceHandler } from '../http/trace.ts'
import { readTrace } from '../log/trace.ts'
import { startSocketServer } from '../socket/socket-server.ts'
import { findClientAddress, parseTrustedProxies } from '../support/address.ts'
import { StartError } from '../support/start-error.ts'
import type { StartContext } from './start-context.ts'
import type { Delivery } from './start-delivery.ts'
import type { Store } from './start-store.ts'

export interface EdgesInput {
  readonly authenticator: Authenticator
  readonly commands: InFlightCommands
  readonly health: HealthReport
  readonly isStopping: () => boolean
}

/** Opens the port `PORT`. Returns the base URL of the server. */
export async function startEdges(
  context: StartContext,
  store: Store,
  delivery: Delivery,
  { authenticator, commands, health, isStopping }: EdgesInput,
): Promise<string> {
  const { config, logger, clock, lifecycle, metrics } = context
  const { parts, gate } = delivery
  const proxies = parseTrustedProxies(config.trustedProxies)
  if (proxies === undefined) throw new StartError('TRUSTED_PROXIES cannot be read')
  const addressOf = (request: IncomingMessage): string =>
    findClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for'], proxies)
  const app = await buildHttpApp({
    config,
    parts,
    handlers: commands.handlers,
    authenticator,
    logger,
    metrics,
    health: () => health.ask(),
    isLeaving: isStopping,
    extend: (scope) => {
      addEventStream(scope, { authenticator, parts, gate, addressOf })
      addMailPages(scope, { database: store.database, limits: parts.limits, addressOf, key: delivery.mailKey })
    },
  })
  const sockets = startSocketServer({
    httpServer: app.server,
    parts,
    handlers: commands.handlers,
    authenticator,
    originPolicy: config,
    gate,
    addressOf,
  })
  await lifecycle.start({ name: 'http', stop: () => app.close() })
  await lifecycle.start({
    name: 'connections',
    stop: async () => {
      await drain({
        gate,
        intake: commands,
        openWires: () => sockets.engine.clientsCount,
        clock,
        noticeMs: config.drainNoticeMs,
        moveMs: config.drainMs,
      })
      sockets.engine.close()
    },
  })
  await startOperatorsPort(context, store, delivery)
  await app.listen({ host: config.host, port: config.port }).catch((error: NodeJS.ErrnoException) => {
    throw new StartError(`unable to listen on PORT ${config.port} of ${config.host}; ${describeListenError(error)}`, {
      cause: error,
    })
  })
  const { port } = app.server.address() as AddressInfo
  if (config.canary === 'on') {
    const canary = Canary.start({
      parts,
      commands: commandTable,
      authenticator,
      clock,
      now: () => store.time.now(),
      url: `http://${reachableHost(config.host)}:${port}`,
    })
    await lifecycle.start({ name: 'canary', stop: async () => canary.stop() })
  }
  return `http://${bracketed(config.host)}:${port}`
}

async function startOperatorsPort(
  { config, clock, lifecycle, metrics }: StartContext,
  { database, time }: Store,
  { parts, trail }: Delivery,
): Promise<void> {
  if (config.metricsPort === undefined) return
  const trace = createTraceHandler({
    serverName: config.serverName,
    trail,
    connectionsOf: (user) => parts.connections.ofUser(user),
    read: (conversation, seq, user) => readTrace(database, conversation, seq, user),
    nowMs: () => clock.nowMs(),
    now: () => time.now(),
  })
  const server = await startMetricsServer(metrics, config.host, config.metricsPort, trace)
  await lifecycle.start({ name: 'metrics port', stop: async () => void server.close() })
}

/**
 * Returns the host name by which a program on this machine reaches a server that listens on `host`.
 */
function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return bracketed(host === '::' ? '::1' : host)
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
