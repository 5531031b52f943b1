/**
 * Combines all writes to a WebSocket in one turn of the event loop into one buffer and one system
 * call: the acknowledgements of a batch, and the changes that are delivered right after it. One
 * write per packet would be simpler. But a system call costs more than all other work for a short
 * message, and `writev` with one piece per packet costs twice as much as one buffer.
 *
 * Packets keep their order. They are written in an immediate (`setImmediate`), which runs after the
 * changes of the same batch were delivered. So no packet waits longer than the current turn. Code
 * that writes to the socket directly must call `release` first.
 */
import type { Socket } from 'node:net'
import { frameBytes, toTextFrame, writeTextFrame } from './websocket-frame.ts'

/**
 * Maximum number of bytes that are copied into one buffer. More bytes are written piece by piece,
 * so that a large frame shared by many clients is not copied for each one.
 */
const copyMaxBytes = 32_768

/** Queued packet: a text, or a complete frame that was encoded once for many connections. */
type Piece = string | Buffer

const gathering = new Set<CoalescedWrites>()

export class CoalescedWrites {
  readonly #socket: Socket
  readonly #onRoom: () => void
  #pieces: Piece[] = []
  #bytes = 0

  /**
   * @param onRoom - called after the queued pieces were written, as soon as the socket accepts more
   * data. The event `drain` alone is not enough, because a socket emits it only if it was full
   */
  constructor(socket: Socket, onRoom: () => void) {
    this.#socket = socket
    this.#onRoom = onRoom
    socket.on('drain', onRoom)
  }

  /**
   * Number of queued bytes, which are written at the end of the turn of the event loop. Texts are
   * counted in characters.
   */
  get bytes(): number {
    return this.#bytes
  }

  add(piece: Piece): void {
    if (this.#pieces.length === 0) {
      if (gathering.size === 0) setImmediate(endTurn)
      gathering.add(this)
    }
    this.#pieces.push(piece)
    this.#bytes += piece.length
  }

  /**
   * Writes all queued pieces to the socket now. Does not call `onRoom`, because the caller itself
   * is about to write more.
   */
  release(): void {
    gathering.delete(this)
    const pieces = this.#pieces
    if (pieces.length === 0) return
    this.#pieces = []
    this.#bytes = 0
    if (!this.#socket.writable) return
    const [first] = pieces
    if (pieces.length === 1 && typeof first === 'object') this.#socket.write(first)
    else this.#writeTogether(pieces)
  }

  /**
   * Writes all queued pieces at the end of the turn of the event loop. Calls `onRoom` if the socket
   * accepts more data.
   */
  endTurn(): void {
    this.release()
    if (this.#socket.writable && !this.#socket.writableNeedDrain) this.#onRoom()
  }

  #writeTogether(pieces: readonly Piece[]): void {
    const sizes = pieces.map((piece) => (typeof piece === 'string' ? Buffer.byteLength(piece) : piece.length))
    let total = 0
    pieces.forEach((piece, index) => {
      const bytes = sizes[index] as number
      total += typeof piece === 'string' ? frameBytes(bytes) : bytes
    })
    if (total > copyMaxBytes) {
      this.#writeApart(pieces)
      return
    }
    const together = Buffer.allocUnsafe(total)
    let at = 0
    pieces.forEach((piece, index) => {
      const bytes = sizes[index] as number
      if (typeof piece === 'string') at = writeTextFrame(together, at, piece, bytes)
      else at += piece.copy(together, at)
    })
    this.#socket.write(together)
  }

  #writeApart(pieces: readonly Piece[]): void {
    this.#socket.cork()
    for (const piece of pieces) this.#socket.write(typeof piece === 'string' ? toTextFrame(piece) : piece)
    this.#socket.uncork()
  }
}

function endTurn(): void {
  const ended = [...gathering]
  gathering.clear()
  for (const writes of ended) writes.endTurn()
}
