/** Starts the worker that erases users. */
import { ErasureWorker } from '../erasure/erasure-worker.ts'
import type { StartContext } from './start-context.ts'
import type { Delivery } from './start-delivery.ts'

export async function startErasure({ clock, lifecycle, logger }: StartContext, { parts }: Delivery): Promise<void> {
  const { database, log, feeds, announceRevoked } = parts
  const worker = new ErasureWorker({ database, log, feeds, announceRevoked, clock, logger })
  worker.start()
  await lifecycle.start({ name: 'erasure', stop: () => worker.stop() })
}
