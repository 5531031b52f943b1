/**
 * Writes the history file of one process of the chaos test.
 *
 * Guarantee: lines are complete and in the order of the calls. At most one block (256 kB) waits in
 * memory. It is written synchronously when it is full and once a second, so a slow disk slows the
 * process instead of filling its memory. The writer also records pauses of its own event loop. A
 * failing disk or a file at its size limit throws an error: a run without its history proves
 * nothing and must end.
 */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { nowMicros } from './clock.ts'
import { type FileHeader, formatVersion, LineEncoder } from './encoding.ts'
import type { HistoryEvent } from './events.ts'

export const historySuffix = '.history.jsonl'

const blockMaxChars = 256 * 1024
const flushEveryMs = 1_000
const beatMs = 250
/** Delay of a timer above which the event loop counts as paused. */
const latenessMaxMs = 500
const fileMaxBytesDefault = 4 * 1024 ** 3

export interface HistoryWriterOptions {
  /** Folder of the run's history files. The writer creates it if it is missing. */
  readonly folder: string
  /**
   * Name of the writing process. Its file is `<origin>.history.jsonl`, which must not exist yet.
   */
  readonly origin: string
  /** Maximum size of the file in bytes. Default: 4 GiB. */
  readonly fileMaxBytes?: number
}

export class HistoryWriter {
  readonly path: string
  readonly #file: number
  readonly #encoder: LineEncoder
  readonly #fileMaxBytes: number
  readonly #timer: NodeJS.Timeout
  #block = ''
  #writtenBytes = 0
  #lastBeatT = nowMicros()
  #lastFlushT = nowMicros()
  #lastId = 0
  #isClosed = false

  constructor({ folder, origin, fileMaxBytes = fileMaxBytesDefault }: HistoryWriterOptions) {
    mkdirSync(folder, { recursive: true })
    this.path = join(folder, `${origin}${historySuffix}`)
    this.#file = openSync(this.path, 'wx')
    this.#fileMaxBytes = fileMaxBytes
    const header: FileHeader = { chorusHistory: formatVersion, origin, pid: process.pid, t0: nowMicros() }
    this.#encoder = new LineEncoder(header.t0)
    this.#block = `${JSON.stringify(header)}\n`
    this.#timer = setInterval(() => this.#beat(), beatMs)
    this.#timer.unref()
  }

  /** Returns the id for a new operation. The events of its start and its outcome carry this id. */
  nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }

  write(event: HistoryEvent): void {
    if (this.#isClosed) throw new Error(`unable to write history; ${this.path} is closed`)
    this.#block += this.#encoder.encode(event)
    if (this.#block.length >= blockMaxChars) this.flush()
  }

  flush(): void {
    this.#lastFlushT = nowMicros()
    if (this.#block === '') return
    const bytes = Buffer.from(this.#block)
    this.#block = ''
    if (this.#writtenBytes + bytes.length > this.#fileMaxBytes) {
      throw new Error(`unable to write history; ${this.path} would grow over ${this.#fileMaxBytes} bytes`)
    }
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(this.#file, bytes, offset)
    this.#writtenBytes += bytes.length
  }

  #beat(): void {
    const t = nowMicros()
    const lateMs = Math.round((t - this.#lastBeatT) / 1_000) - beatMs
    this.#lastBeatT = t
    if (lateMs > latenessMaxMs) this.write({ t, op: 'stall', lateMs })
    if (t - this.#lastFlushT >= flushEveryMs * 1_000) this.flush()
  }

  close(): void {
    if (this.#isClosed) return
    clearInterval(this.#timer)
    this.flush()
    this.#isClosed = true
    closeSync(this.#file)
  }
}
