/** Starts the periodic checks of connections, memory and queues. */
import type { Parts } from '../commands/parts.ts'
import type { InFlightCommands } from '../dispatch/in-flight-commands.ts'
import { frameOf } from '../frames/frame.ts'
import { IdleHeapTrimmer, setV8Flags } from '../support/idle-heap-trimmer.ts'
import type { StartContext } from './start-context.ts'
import type { Delivery } from './start-delivery.ts'

const tidyIntervalMs = 60_000
const watchIntervalMs = 1_000

export async function startChecks(
  { clock, lifecycle, metrics }: StartContext,
  { parts, gate, budget, batchesDelivered }: Delivery,
  commands: InFlightCommands,
): Promise<void> {
  const { log, passwords, liveValues } = parts
  const trimmer = new IdleHeapTrimmer({
    workDone: () => commands.begun + batchesDelivered() + gate.turnover,
    prefer: (preference) => {
      setV8Flags(preference)
      metrics.prefersMemory.set(preference === 'memory' ? 1 : 0)
    },
  })
  const watch = setInterval(() => {
    budget.checkProgress(clock.nowMs())
    gate.closeExpired()
    trimmer.look()
    metrics.outboundBytes.set(budget.heldBytes)
    metrics.queueDepth.set({ queue: 'log' }, log.waitingRows)
    metrics.queueDepth.set({ queue: 'passwords' }, passwords.waitingCount)
    catchUpLiveValues(parts)
    countConnections(parts)
  }, watchIntervalMs)
  const tidy = setInterval(() => liveValues.tidy(), tidyIntervalMs)
  await lifecycle.start({
    name: 'periodic checks',
    stop: async () => {
      clearInterval(watch)
      clearInterval(tidy)
    },
  })
}

/**
 * Sends the newest live values to connections that missed some values because they read too slowly
 * (rule LIVE1).
 */
function catchUpLiveValues({ connections, liveValues }: Parts): void {
  for (const connection of connections) {
    if (connection.staleLive.size === 0 || connection.isBehind) continue
    for (const conversation of connection.staleLive) {
      const values = connection.conversations.has(conversation) ? liveValues.list(conversation) : []
      if (values.length > 0) connection.send(frameOf('live', values))
    }
    connection.staleLive.clear()
  }
}

function countConnections({ connections, metrics }: Parts): void {
  const counts = { websocket: 0, polling: 0, sse: 0 }
  for (const connection of connections) counts[connection.transportKind]++
  for (const [transport, count] of Object.entries(counts)) metrics.connections.set({ transport }, count)
}
