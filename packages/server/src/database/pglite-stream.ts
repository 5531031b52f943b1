/**
 * Stream that the driver uses in place of a socket. It sends complete batches of Postgres protocol
 * messages to the thread of the embedded engine and returns the engine's responses. A batch is
 * complete at the message Sync, Query or Flush, or at the start-up message.
 */
import { Duplex } from 'node:stream'
import type { Worker } from 'node:worker_threads'
import type { FromEngine, ToEngine } from './pglite-worker.ts'

const messageType = { sync: 0x53, query: 0x51, flush: 0x48, terminate: 0x58 } as const

let nextId = 1

export class PgliteStream extends Duplex {
  readonly #worker: Worker
  readonly #id = nextId++
  #pending: Buffer = Buffer.alloc(0)
  #started = false
  #ended = false
  readonly #onMessage: (message: FromEngine) => void
  readonly #onExit = (): void => {
    this.destroy(new Error('the embedded engine has stopped'))
  }

  constructor(worker: Worker) {
    super()
    this.#worker = worker
    this.#onMessage = (message) => {
      if (message.kind === 'bytes' && message.id === this.#id) this.push(Buffer.from(message.bytes))
    }
    worker.on('message', this.#onMessage)
    worker.on('exit', this.#onExit)
  }

  /** Methods of net.Socket that the driver calls on its stream. */
  connect(): this {
    queueMicrotask(() => this.emit('connect'))
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    const complete = this.#completeLength()
    if (complete > 0) {
      const bytes = Uint8Array.prototype.slice.call(this.#pending, 0, complete)
      this.#pending = this.#pending.subarray(complete)
      this.#tell({ kind: 'bytes', id: this.#id, bytes })
    }
    done()
  }

  override _final(done: () => void): void {
    this.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#worker.off('message', this.#onMessage)
    this.#worker.off('exit', this.#onExit)
    this.#tellEnd()
    done(error)
  }

  #tellEnd(): void {
    if (this.#ended) return
    this.#ended = true
    this.#tell({ kind: 'end', id: this.#id })
  }

  /** Returns the length of the pending bytes that form complete batches and can be sent. */
  #completeLength(): number {
    let offset = 0
    let complete = 0
    while (offset < this.#pending.length) {
      const typed = this.#started
      const headerBytes = typed ? 5 : 4
      if (this.#pending.length - offset < headerBytes) break
      const length = this.#pending.readInt32BE(offset + (typed ? 1 : 0)) + (typed ? 1 : 0)
      if (this.#pending.length - offset < length) break
      const type = typed ? this.#pending[offset] : undefined
      offset += length
      if (!typed) this.#started = true
      // Close the stream in response to Terminate. Notify the engine at once: a later notice would
      // make it discard the prepared statements of the driver's next connection.
      if (type === messageType.terminate) {
        this.#tellEnd()
        this.#pending = this.#pending.subarray(0, complete)
        return complete
      }
      if (!typed || type === messageType.sync || type === messageType.query || type === messageType.flush)
        complete = offset
    }
    return complete
  }

  #tell(message: ToEngine): void {
    this.#worker.postMessage(message)
  }
}
