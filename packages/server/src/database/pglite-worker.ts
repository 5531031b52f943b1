/**
 * Runs the embedded engine in its own thread, so that a slow query never blocks the event loop that
 * serves the clients.
 *
 * The thread speaks the Postgres wire protocol over thread messages: `{id, bytes}` in, `{id,
 * bytes}` out, strictly one after another. Each id is one connection of the driver. A response has
 * the id of its request, even if the connection has been closed.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'

export interface EngineOptions {
  readonly directory: string
}

export type ToEngine =
  | { readonly kind: 'bytes'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: 'end'; readonly id: number }
  | { readonly kind: 'close' }

export type FromEngine =
  | { readonly kind: 'open' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'bytes'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: 'closed' }

const port = parentPort
if (port === null) throw new Error('unable to start the embedded engine; it runs only as a worker thread')

const { directory } = workerData as EngineOptions
const tell = (message: FromEngine): void => port.postMessage(message)

let engine: PGlite | undefined
let chain: Promise<void> = PGlite.create({
  dataDir: directory,
  startParams: [...PGlite.defaultStartParams, '-c', 'shared_buffers=32MB', '-c', 'synchronous_commit=on'],
}).then(
  (opened) => {
    engine = opened
    tell({ kind: 'open' })
  },
  (error: unknown) => tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }),
)

port.on('message', (message: ToEngine) => {
  chain = chain.then(async () => {
    if (engine === undefined) return
    switch (message.kind) {
      case 'bytes': {
        const bytes = await engine.execProtocolRaw(message.bytes)
        tell({ kind: 'bytes', id: message.id, bytes })
        return
      }
      case 'end':
        // All connections share the engine's one backend. So reset the state that a closed
        // connection leaves for the next one. Use two statements: as one, they would be one
        // transaction, and `discard all` cannot run in a transaction.
        await engine.exec('rollback')
        await engine.exec('discard all')
        return
      case 'close':
        await engine.close()
        engine = undefined
        tell({ kind: 'closed' })
        return
    }
  })
  // Ignore a failure: the caller of the failed request gets a timeout, and later requests must
  // still run.
  chain = chain.catch(() => undefined)
})
