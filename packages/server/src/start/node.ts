/**
 * Starts one server: creates each part after the parts that it depends on. Stops the parts in
 * reverse order. Reading `start` from top to bottom shows what a server consists of.
 */
import { randomUUID } from 'node:crypto'
import type { Config } from '../config/config.ts'
import { commandTable } from '../dispatch/command-table.ts'
import { InFlightCommands } from '../dispatch/in-flight-commands.ts'
import { systemClock } from '../support/clock.ts'
import { Lifecycle } from '../support/lifecycle.ts'
import type { Logger } from '../support/logger.ts'
import { Metrics } from '../support/metrics.ts'
import { startAuth, startAuthenticator } from './start-auth.ts'
import { startChecks } from './start-checks.ts'
import type { StartContext } from './start-context.ts'
import { startDelivery } from './start-delivery.ts'
import { startEdges } from './start-edges.ts'
import { startErasure } from './start-erasure.ts'
import { startHealth } from './start-health.ts'
import { startRedis } from './start-redis.ts'
import { startStore } from './start-store.ts'
import { startSweep } from './start-sweep.ts'

export interface Node {
  /** Base URL of the server. */
  readonly url: string
  /**
   * Stops the server: reports that it is not ready, asks clients to move to another server,
   * acknowledges messages that are being stored, and stops all parts.
   */
  stop(): Promise<void>
}

/**
 * Maximum time of a stop. At most 9 s of it pass before the last responses are sent (see DRAIN_MS).
 */
const stopDeadlineMs = 14_000

/**
 * Starts a server. If a part cannot start, stops the parts that have started, and throws
 * `StartError`.
 */
export async function startNode(config: Config, logger: Logger): Promise<Node> {
  const clock = systemClock
  const lifecycle = new Lifecycle(clock, (part, problem) =>
    logger.error({ err: problem, part }, 'a part of the server did not stop cleanly'),
  )
  try {
    return await start({ config, logger, clock, lifecycle, metrics: new Metrics(), bootId: randomUUID() })
  } catch (error) {
    await lifecycle.stop(stopDeadlineMs)
    throw error
  }
}

async function start(context: StartContext): Promise<Node> {
  const { clock, lifecycle, metrics } = context
  let isStopping = false
  await lifecycle.start({ name: 'metrics', stop: async () => metrics.stop() })
  const store = await startStore(context)
  const redisParts = await startRedis(context, store)
  const auth = await startAuth(context, store, redisParts)
  const delivery = await startDelivery(context, store, redisParts, auth)
  const sweeper = await startSweep(context, store, auth, delivery)
  await startErasure(context, delivery)
  const authenticator = await startAuthenticator(context, store, redisParts, auth, () => sweeper.ageMs)
  const commands = new InFlightCommands(commandTable, clock)
  await startChecks(context, delivery, commands)
  const health = await startHealth(context, store, redisParts, delivery, { sweeper, isStopping: () => isStopping })
  const url = await startEdges(context, store, delivery, {
    authenticator,
    commands,
    health,
    isStopping: () => isStopping,
  })
  return {
    url,
    stop: async () => {
      isStopping = true
      await lifecycle.stop(stopDeadlineMs)
    },
  }
}
