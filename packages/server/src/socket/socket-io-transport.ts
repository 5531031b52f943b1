/**
 * Transport of a Socket.IO connection. It writes to the WebSocket directly: a frame is encoded once
 * for all connections, and everything written in one turn of the event loop is sent together
 * ({@link CoalescedWrites}). Engine.IO itself would buffer, emit and call back for every packet.
 * This transport writes through Engine.IO only for polling, and while Engine.IO holds packets that
 * must be sent first (its handshake, an upgrade).
 *
 * Engine.IO buffers without a limit: one client that stopped reading took a server from 120 MB to
 * 1.1 GB. So this transport counts unread bytes: those in Engine.IO's buffer, those that the
 * WebSocket has not given to the kernel, and the bodies of polls that the client requested and does
 * not read. Engine.IO counts those bodies as sent.
 */
import type { ServerResponse } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import type { Socket } from 'socket.io'
import { Answer, type Frame, type Outgoing } from '../frames/frame.ts'
import type { Transport, TransportKind } from '../delivery/outbound.ts'
import { type EventPacket, type Packet, readPacket } from './event-packet.ts'
import { CoalescedWrites } from './coalesce-writes.ts'
import { toTextFrame } from './websocket-frame.ts'

/** Internals of Engine.IO that its types leave out. */
interface EngineTransport {
  readonly name: string
  readonly writable: boolean
  /** Object of the library ws. Exists only in a WebSocket transport. */
  readonly socket?: { readonly bufferedAmount: number; readonly _socket: NetSocket | null; terminate(): void }
  /** Response to the waiting poll. Exists only in a polling transport. */
  readonly res?: ServerResponse | null
  on(event: 'drain', listener: () => void): void
  prependListener(event: 'ready', listener: () => void): void
}

interface EngineSocket {
  readonly transport: EngineTransport
  readonly readyState: string
  /** Packets that wait until the transport can write. The outbound queue limits their size. */
  readonly writeBuffer: readonly { readonly data?: string }[]
  write(data: string, options: { compress: boolean }): void
  close(discard?: boolean): void
  on(event: 'upgrade', listener: (transport: EngineTransport) => void): void
}

/** Emitter of received data in Engine.IO. Socket.IO listens to it with a {@link DataSink}. */
interface DataSource {
  on(event: 'data', listener: (data: unknown) => void): void
  removeListener(event: 'data', listener: (data: unknown) => void): void
}

interface DataSink {
  readonly ondata: (data: unknown) => void
}

/** Receiver of the packets of one connection. */
export interface PacketTaker {
  take(packet: EventPacket): void
  /** Refuses an event with binary attachments, because the protocol has no binary data. */
  refuseBinary(id: number | undefined): void
  /** Closes the connection, because the client breaks the rules for binary packets. */
  endForBinary(): void
}

/** Maximum number of attachments of one event. socket.io-parser has the same limit. */
const attachmentsMax = 10

/** Type character of a message in Engine.IO. Every Socket.IO packet begins with it. */
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
  /** Combined writes to the WebSocket. Undefined until the connection has a WebSocket. */
  #writes: CoalescedWrites | undefined
  /** Number of polls whose response bodies were given to the kernel. */
  #pollsRead = 0
  /**
   * Responses to polls that are not finished. There is at most one, unless the client does not read
   * its responses.
   */
  readonly #polls = new Set<ServerResponse>()
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

  /**
   * Passes event packets to the receiver before Socket.IO reads them. CONNECT and DISCONNECT still
   * go to Socket.IO (strict-decoder.ts).
   */
  onPacket(taker: PacketTaker): void {
    const { conn, client } = this.#socket as unknown as { readonly conn: DataSource; readonly client: DataSink }
    let attachments = 0
    const take = (packet: Packet, data: unknown): void => {
      switch (packet.kind) {
        case 'event':
          taker.take(packet)
          return
        case 'binary-event':
          attachments += packet.attachments
          if (packet.attachments === 0 || attachments > attachmentsMax) taker.endForBinary()
          else taker.refuseBinary(packet.id)
          return
        case 'attachment':
          // This packet is an attachment of an event that was refused.
          if (attachments > 0) attachments--
          else taker.endForBinary()
          return
        case 'acknowledgement':
          return
        case 'other':
          client.ondata(data)
      }
    }
    conn.removeListener('data', client.ondata)
    conn.on('data', (data) => {
      // After a disconnect, all data goes to Socket.IO, which closes a client that still sends.
      if (this.#socket.connected) take(readPacket(data), data)
      else client.ondata(data)
    })
  }

  get kind(): TransportKind {
    return this.#engine.transport.name === 'websocket' ? 'websocket' : 'polling'
  }

  write(item: Outgoing): void {
    const writes = this.#directWrites()
    if (item instanceof Answer) {
      if (writes === undefined) this.#writeByEngine(item.packet)
      else writes.add(messageMark + item.packet)
      return
    }
    if (writes === undefined) this.#writeByEngine(packetOf(item))
    else writes.add(webSocketFrameOf(item))
  }

  bufferedBytes(): number {
    let handedBytes = 0
    for (const { data } of this.#engine.writeBuffer) handedBytes += data?.length ?? 0
    for (const poll of this.#polls) handedBytes += poll.writableLength
    return handedBytes + (this.#writes?.bytes ?? 0) + (this.#engine.transport.socket?.bufferedAmount ?? 0)
  }

  progress(): number {
    const socket = this.#engine.transport.socket?._socket
    return socket ? socket.bytesWritten - socket.writableLength : this.#pollsRead
  }

  onDrain(listener: () => void): void {
    this.#listener = listener
  }

  close(manner: 'again' | 'final' | 'hard'): void {
    this.#writes?.release()
    switch (manner) {
      case 'again':
        // Closes without Socket.IO's own "disconnect" packet. So stock clients reconnect by
        // themselves.
        this.#engine.close()
        return
      case 'final':
        this.#socket.disconnect(true)
        return
      case 'hard': {
        const { socket } = this.#engine.transport
        if (socket === undefined) this.#engine.close(true)
        else socket.terminate()
        for (const poll of this.#polls) poll.destroy()
      }
    }
  }

  /**
   * Returns the writer that bypasses Engine.IO. Returns undefined if there is no WebSocket, or
   * while Engine.IO holds packets that must be sent first.
   */
  #directWrites(): CoalescedWrites | undefined {
    const { writeBuffer, transport, readyState } = this.#engine
    if (writeBuffer.length > 0 || readyState !== 'open') return undefined
    if (this.#writes !== undefined) return this.#writes
    const wire = transport.name === 'websocket' ? transport.socket?._socket : undefined
    if (!wire) return undefined
    this.#writes = new CoalescedWrites(wire, () => this.#listener())
    return this.#writes
  }

  #writeByEngine(packet: string): void {
    this.#writes?.release()
    this.#engine.write(packet, { compress: false })
  }

  #watch(transport: EngineTransport): void {
    if (transport.name === 'polling') {
      this.#watchPoll(transport)
      // This listener must run before that of Engine.IO, which may answer the poll at once and then
      // forgets the response object.
      transport.prependListener('ready', () => this.#watchPoll(transport))
    }
    transport.on('drain', () => {
      // Engine.IO marks the transport as writable only after this event, so the listener is called
      // later.
      queueMicrotask(() => this.#listener())
    })
  }

  /** Counts the response to the newest poll as unread, until the kernel has taken all of it. */
  #watchPoll({ res }: EngineTransport): void {
    if (res === undefined || res === null || this.#polls.has(res)) return
    this.#polls.add(res)
    res.once('finish', () => {
      this.#pollsRead++
      this.#polls.delete(res)
      this.#listener()
    })
    res.once('close', () => this.#polls.delete(res))
  }
}
