/**
 * A Socket.IO connection as a transport. A WebSocket is written to directly: frames are encoded once for all of them, and
 * what one turn writes leaves together ({@link GatheredWrites}). Engine.IO's own way would buffer, emit and call back for
 * every packet; it is taken while it holds packets that must leave first (its handshake, an upgrade), and for polling.
 *
 * Engine.IO buffers without limit (one paused client took a server from 120 MB to 1.1 GB), so what is unread is counted
 * here: what waits in Engine.IO's own buffer and what the WebSocket has not given to the kernel.
 */
import type { Socket as NetSocket } from 'node:net'
import type { Socket } from 'socket.io'
import type { Frame } from '../fanout/frame.ts'
import type { Transport, TransportKind } from '../fanout/outbound.ts'
import { answerPacket, type EventPacket, readEventPacket } from './event-packet.ts'
import { GatheredWrites } from './gather-writes.ts'
import { toTextFrame } from './websocket-frame.ts'

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
  /** Packets that wait until the transport is writable; never more than a transport is given. */
  readonly writeBuffer: readonly { readonly data?: string }[]
  write(data: string, options: { compress: boolean }): void
  close(discard?: boolean): void
  on(event: 'upgrade', listener: (transport: EngineTransport) => void): void
}

/** Where Engine.IO hands over what arrived, and who takes it in Socket.IO. */
interface DataSource {
  on(event: 'data', listener: (data: unknown) => void): void
  removeListener(event: 'data', listener: (data: unknown) => void): void
}

interface DataSink {
  readonly ondata: (data: unknown) => void
}

export interface EventTaker {
  take(packet: EventPacket): void
}

/** Engine.IO's mark of a message, before every packet of Socket.IO. */
const messageMark = '4'

function packetOf(frame: Frame): string {
  frame.wire.packet ??= `2["${frame.event}",${frame.json}]`
  return frame.wire.packet
}

function webSocketFrameOf(frame: Frame): Buffer {
  frame.wire.websocket ??= toTextFrame(messageMark + packetOf(frame))
  return frame.wire.websocket
}

export class SocketIoTransport implements Transport {
  readonly #socket: Socket
  readonly #engine: EngineSocket
  /** Of the WebSocket, once there is one. */
  #writes: GatheredWrites | undefined
  #drains = 0
  #listener: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    this.#engine = socket.conn as unknown as EngineSocket
    this.#watch(this.#engine.transport)
    if (this.kind === 'polling')
      this.#engine.on('upgrade', (transport) => {
        this.#watch(transport)
        this.#listener()
      })
  }

  /** Hands over event packets before Socket.IO takes them; what is none goes its ordinary way. */
  onEvent(taker: EventTaker): void {
    const { conn, client } = this.#socket as unknown as { readonly conn: DataSource; readonly client: DataSink }
    conn.removeListener('data', client.ondata)
    conn.on('data', (data) => {
      // Socket.IO ends whoever goes on after leaving.
      const packet = this.#socket.connected ? readEventPacket(data) : undefined
      if (packet === undefined) client.ondata(data)
      else taker.take(packet)
    })
  }

  get kind(): TransportKind {
    return this.#engine.transport.name === 'websocket' ? 'websocket' : 'polling'
  }

  write(frame: Frame): void {
    const writes = this.#directWrites()
    if (writes === undefined) this.#writeByEngine(packetOf(frame))
    else writes.add(webSocketFrameOf(frame))
  }

  /** Answers event `id`, behind everything written before. */
  answer(id: number, body: object): void {
    const packet = answerPacket(id, body)
    const writes = this.#directWrites()
    if (writes === undefined) this.#writeByEngine(packet)
    else writes.add(messageMark + packet)
  }

  bufferedBytes(): number {
    let handedBytes = 0
    for (const { data } of this.#engine.writeBuffer) handedBytes += data?.length ?? 0
    return handedBytes + (this.#writes?.bytes ?? 0) + (this.#engine.transport.socket?.bufferedAmount ?? 0)
  }

  progress(): number {
    const socket = this.#engine.transport.socket?._socket
    return socket ? socket.bytesWritten - socket.writableLength : this.#drains
  }

  onDrain(listener: () => void): void {
    this.#listener = listener
  }

  close(manner: 'again' | 'final' | 'hard'): void {
    this.#writes?.release()
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

  /** The way around Engine.IO; undefined while it holds something that must leave first. */
  #directWrites(): GatheredWrites | undefined {
    const { writeBuffer, transport, readyState } = this.#engine
    if (writeBuffer.length > 0 || readyState !== 'open') return undefined
    if (this.#writes !== undefined) return this.#writes
    const wire = transport.name === 'websocket' ? transport.socket?._socket : undefined
    if (!wire) return undefined
    this.#writes = new GatheredWrites(wire, () => this.#listener())
    return this.#writes
  }

  #writeByEngine(packet: string): void {
    this.#writes?.release()
    this.#engine.write(packet, { compress: false })
  }

  #watch(transport: EngineTransport): void {
    transport.on('drain', () => {
      this.#drains++
      // Engine.IO marks the transport writable right after this event.
      queueMicrotask(() => this.#listener())
    })
  }
}
