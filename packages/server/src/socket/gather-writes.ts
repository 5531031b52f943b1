/**
 * What one turn of the event loop writes to a WebSocket leaves as one buffer in one system call: the acknowledgements of a
 * batch, and the changes that its flush delivers right after. A system call costs more than all else that is done for a
 * short message, and `writev` with a piece per packet twice as much as one buffer.
 *
 * Packets gather in the order in which they were handed over, and leave in an immediate, which runs behind the flush that
 * the same batch asked for. Nothing waits for longer than that turn; whoever writes past this gathering releases first.
 */
import type { Socket } from 'node:net'
import { frameBytes, toTextFrame, writeTextFrame } from './websocket-frame.ts'

/** Up to here, what has gathered is copied into one buffer; a large frame that many receive is not copied for each. */
const copyMaxBytes = 32_768

/** A packet as text, or a frame that was encoded for many. */
type Piece = string | Buffer

const gathering = new Set<GatheredWrites>()

export class GatheredWrites {
  readonly #socket: Socket
  readonly #onRoom: () => void
  #pieces: Piece[] = []
  #bytes = 0

  /** @param onRoom - what had gathered was handed over, and the socket takes more; it says nothing itself unless it was full */
  constructor(socket: Socket, onRoom: () => void) {
    this.#socket = socket
    this.#onRoom = onRoom
    socket.on('drain', onRoom)
  }

  /** Bytes that wait for the end of the turn; of texts the characters. */
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

  /** Hands everything to the socket now. Tells nobody of room: whoever calls is in the middle of writing. */
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

  /** The turn is over: hands everything to the socket, and says when that takes more. */
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
