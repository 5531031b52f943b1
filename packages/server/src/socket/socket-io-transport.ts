/**
 * A Socket.IO connection as a transport: frames are encoded once for all WebSockets and handed to Engine.IO as they are.
 *
 * Engine.IO buffers without limit (one paused client took a server from 120 MB to 1.1 GB), so what is unread is counted
 * here: what waits in Engine.IO's own buffer and what the WebSocket has not given to the kernel.
 */
import type { Socket as NetSocket } from 'node:net'
import type { Socket } from 'socket.io'
import * as ws from 'ws'
import type { Frame } from '../fanout/frame.ts'
import type { Transport, TransportKind } from '../fanout/outbound.ts'
import { gatherWrites } from './gather-writes.ts'

/** The parts of Engine.IO that its types leave out. */
interface EngineTransport {
  readonly name: string
  readonly writable: boolean
  /** Of the WebSocket transport: the ws object. */
  readonly socket?: { readonly bufferedAmount: number; readonly _socket: NetSocket | null; terminate(): void }
  on(event: 'drain', listener: () => void): void
}

interface EngineSocket {
  readonly transport: EngineTransport
  readonly readyState: string
  write(data: string, options: { compress: boolean; wsPreEncodedFrame?: readonly Buffer[] }): void
  close(discard?: boolean): void
  on(event: 'drain', listener: () => void): void
  on(event: 'upgrade', listener: (transport: EngineTransport) => void): void
}

/** Builds a WebSocket frame without a socket to send it on; the types of ws leave it out. */
const { Sender } = ws as unknown as { readonly Sender: { frame(data: Buffer, options: object): Buffer[] } }

function packetOf(frame: Frame): string {
  frame.wire.packet ??= `2["${frame.event}",${frame.json}]`
  return frame.wire.packet
}

function webSocketFrameOf(frame: Frame): readonly Buffer[] {
  // One buffer, not header and body: two would take the slower, corked path of ws for every receiver.
  frame.wire.websocket ??= [
    Buffer.concat(
      Sender.frame(Buffer.from(`4${packetOf(frame)}`), {
        fin: true,
        rsv1: false,
        opcode: 1,
        mask: false,
        readOnly: false,
      }),
    ),
  ]
  return frame.wire.websocket
}

export class SocketIoTransport implements Transport {
  readonly #socket: Socket
  readonly #engine: EngineSocket
  /** Handed to Engine.IO and still in its own buffer. */
  #handedBytes = 0
  #drains = 0
  #listener: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    this.#engine = socket.conn
    // Engine.IO says "drain" when its buffer went to the wire, the wire when the kernel took it.
    this.#engine.on('drain', () => {
      this.#handedBytes = 0
    })
    this.#watch(this.#engine.transport)
    this.#engine.on('upgrade', (transport) => {
      this.#watch(transport)
      this.#listener()
    })
  }

  get kind(): TransportKind {
    return this.#engine.transport.name === 'websocket' ? 'websocket' : 'polling'
  }

  /** What is written from now on leaves together at the end of this turn. */
  gather(): void {
    const wire = this.#engine.transport.socket?._socket
    if (wire) gatherWrites(wire)
  }

  write(frame: Frame): void {
    this.gather()
    this.#handedBytes += frame.bytes
    const data = packetOf(frame)
    if (this.kind === 'websocket')
      this.#engine.write(data, { compress: false, wsPreEncodedFrame: webSocketFrameOf(frame) })
    else this.#engine.write(data, { compress: false })
  }

  bufferedBytes(): number {
    return this.#handedBytes + (this.#engine.transport.socket?.bufferedAmount ?? 0)
  }

  progress(): number {
    const socket = this.#engine.transport.socket?._socket
    return socket ? socket.bytesWritten - socket.writableLength : this.#drains
  }

  onDrain(listener: () => void): void {
    this.#listener = listener
  }

  close(manner: 'again' | 'final' | 'hard'): void {
    switch (manner) {
      case 'again':
        // Without Socket.IO's own "disconnect" packet, so that stock clients come back by themselves.
        this.#engine.close()
        return
      case 'final':
        this.#socket.disconnect(true)
        return
      case 'hard': {
        const { socket } = this.#engine.transport
        if (socket === undefined) this.#engine.close(true)
        else socket.terminate()
      }
    }
  }

  #watch(transport: EngineTransport): void {
    transport.on('drain', () => {
      this.#drains++
      // Engine.IO marks the transport writable right after this event.
      queueMicrotask(() => this.#listener())
    })
  }
}
