/**
 * A minimal Socket.IO or plain WebSocket client on a TCP socket: handshake, heartbeat and packets.
 * It decodes as little as possible, and all connections of the process share one read buffer. So
 * the load generator measures the server and not itself.
 */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { FrameWalker } from './frame-walker.ts'

const handshakeMaxBytes = 8_192
const handshakeTimeoutMs = 30_000
const readBufferBytes = 262_144

/** First characters of packets: the packet type of Engine.IO, then the packet type of Socket.IO. */
const packet = {
  open: 0x30,
  close: 0x31,
  ping: 0x32,
  message: 0x34,
  disconnect: 0x31,
  event: 0x32,
  acknowledgement: 0x33,
  connectError: 0x34,
} as const
const eventNameOffset = '42["'.length
const letterC = 0x63
const letterE = 0x65
const letterR = 0x72

function startsWith(bytes: Buffer, from: number, text: string): boolean {
  return bytes.toString('latin1', from, from + text.length) === text
}

/**
 * Read buffer of all connections. Each read is handled completely before the next one, so one
 * buffer is enough.
 */
const readBuffer = Buffer.allocUnsafe(readBufferBytes)

export interface RawConnectionEvents {
  /**
   * Called with each acknowledgement. The packet is `bytes[from, to)` and has the form `43<id>[…]`.
   */
  acknowledged(bytes: Buffer, from: number, to: number): void
  /** Called with the number of each delivered message. */
  message(serial: number): void
  /** Called after all received bytes of one read were handled. */
  settled(): void
  /** Called when the WebSocket handshake is complete. */
  opened?: (() => void) | undefined
  /**
   * Called with each cursor that the server sends, beginning with the one in `ready`. Called with
   * `undefined` when the server sends `reset`.
   */
  cursor?: ((cursor: string | undefined) => void) | undefined
  /** Called with the reason when the connection has ended. */
  ended(why: string): void
}

export interface RawConnectionOptions {
  readonly host: string
  readonly port: number
  readonly cookie?: string | undefined
  readonly auth?: string | undefined
  /**
   * Path of a plain WebSocket to use in place of Socket.IO. Such a connection is ready when its
   * handshake is complete.
   */
  readonly plainPath?: string | undefined
  readonly events: RawConnectionEvents
}

export class RawConnection {
  readonly #socket: Socket
  readonly #options: RawConnectionOptions
  readonly #walker: FrameWalker
  /** Bytes of the handshake's HTTP response so far; undefined once the response was complete. */
  #answer: Buffer | undefined = Buffer.alloc(0)
  #pending: Buffer[] = []
  #onReady: (() => void) | undefined
  #hasEnded = false

  private constructor(options: RawConnectionOptions) {
    this.#options = options
    this.#walker = new FrameWalker({
      packet: (bytes, from, to) => this.#read(bytes, from, to),
      message: (serial) => options.events.message(serial),
      closing: () => this.#end('the server closed it'),
    })
    this.#socket = connect({
      host: options.host,
      port: options.port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#take(readBuffer.subarray(0, length))
          return true
        },
      },
    })
    this.#socket.once('connect', () => this.#shakeHands())
    this.#socket.once('error', (error) => this.#end(error.message))
    this.#socket.once('close', () => this.#end('the connection was lost'))
  }

  /** Opens a connection. Resolves when the server has sent `ready`. */
  static open(options: RawConnectionOptions): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const refuse = (why: string): void => {
        clearTimeout(timer)
        connection.close()
        reject(new Error(`unable to connect; ${why}`))
      }
      const timer = setTimeout(() => refuse(`no ready within ${handshakeTimeoutMs} ms`), handshakeTimeoutMs)
      let isReady = false
      const connection = new RawConnection({
        ...options,
        events: {
          ...options.events,
          ended: (why) => {
            if (isReady) options.events.ended(why)
            else refuse(why)
          },
        },
      })
      connection.#onReady = () => {
        isReady = true
        clearTimeout(timer)
        resolve(connection)
      }
    })
  }

  /**
   * Queues a packet until the next {@link flush}. The packet may contain only Latin-1 characters.
   */
  queue(packet: string): void {
    this.#pending.push(toClientFrame(packet))
  }

  flush(): void {
    if (this.#pending.length === 0) return
    const frames = this.#pending
    this.#pending = []
    this.#socket.write(frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames))
  }

  close(): void {
    this.#hasEnded = true
    this.#socket.destroy()
  }

  #shakeHands(): void {
    const { host, port, cookie, plainPath } = this.#options
    this.#socket.write(
      [
        `GET ${plainPath ?? '/socket.io/?EIO=4&transport=websocket'} HTTP/1.1`,
        `Host: ${host}:${port}`,
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
        'Sec-WebSocket-Version: 13',
        ...(cookie === undefined ? [] : [`Cookie: ${cookie}`]),
        '\r\n',
      ].join('\r\n'),
    )
  }

  #take(chunk: Buffer): void {
    try {
      if (this.#answer === undefined) {
        this.#walker.walk(chunk)
      } else {
        this.#answer = Buffer.concat([this.#answer, chunk])
        const end = this.#answer.indexOf('\r\n\r\n')
        if (end === -1) {
          if (this.#answer.length > handshakeMaxBytes) throw new Error('its handshake response does not end')
          return
        }
        const status = this.#answer.toString('latin1', 0, this.#answer.indexOf('\r\n'))
        if (!status.includes(' 101 ')) throw new Error(`the server answered ${status}`)
        const rest = this.#answer.subarray(end + 4)
        this.#answer = undefined
        this.#options.events.opened?.()
        if (this.#options.plainPath !== undefined) this.#onReady?.()
        this.#walker.walk(rest)
      }
    } catch (error) {
      this.#end(error instanceof Error ? error.message : String(error))
      return
    }
    this.#options.events.settled()
    this.flush()
  }

  #read(bytes: Buffer, from: number, to: number): void {
    if (this.#options.plainPath !== undefined) return
    const kind = bytes[from]
    if (kind === packet.open) this.queue(this.#options.auth === undefined ? '40' : `40${this.#options.auth}`)
    else if (kind === packet.ping) this.queue('3')
    else if (kind === packet.close) this.#end('the server closed it')
    else if (kind === packet.message) this.#readMessage(bytes, from, to)
  }

  #readMessage(bytes: Buffer, from: number, to: number): void {
    const kind = bytes[from + 1]
    if (kind === packet.acknowledgement) {
      this.#options.events.acknowledged(bytes, from, to)
    } else if (kind === packet.event) {
      this.#readEvent(bytes, from, to)
    } else if (kind === packet.disconnect || kind === packet.connectError) {
      this.#end(bytes.toString('utf8', from + 2, to))
    }
  }

  /**
   * Reads an event other than a message. Compares single letters before whole names (`ready`,
   * `reset`, `closing`, `checkpoint`), because that is faster.
   */
  #readEvent(bytes: Buffer, from: number, to: number): void {
    const letter = bytes[from + eventNameOffset]
    const { cursor } = this.#options.events
    if (letter === letterR) {
      if (startsWith(bytes, from, '42["ready"')) {
        cursor?.(readCursor(bytes, from, to))
        this.#onReady?.()
      } else if (startsWith(bytes, from, '42["reset"')) cursor?.(undefined)
    } else if (letter === letterC) {
      const third = bytes[from + eventNameOffset + 2]
      if (cursor !== undefined && third === letterE && startsWith(bytes, from, '42["checkpoint"'))
        cursor(readCursor(bytes, from, to))
      else if (startsWith(bytes, from, '42["closing"')) this.#end(bytes.toString('utf8', from + 2, to))
    }
  }

  #end(why: string): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#socket.destroy()
    this.#options.events.ended(why)
  }
}

function readCursor(bytes: Buffer, from: number, to: number): string | undefined {
  return /"cursor":"([^"]+)"/.exec(bytes.toString('latin1', from, to))?.[1]
}

/**
 * Returns a WebSocket text frame with a mask, as clients must send it. The mask is zero, so the
 * load generator need not change the payload.
 */
function toClientFrame(packet: string): Buffer {
  const payload = packet.length // In Latin-1, each character is one byte.
  const headerBytes = payload < 126 ? 6 : 8
  const frame = Buffer.alloc(headerBytes + payload)
  frame[0] = 0x81
  if (payload < 126) {
    frame[1] = 0x80 | payload
  } else {
    if (payload > 0xffff) throw new Error('unable to send a packet; it is longer than 65 535 bytes')
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(payload, 2)
  }
  frame.write(packet, headerBytes, 'latin1')
  return frame
}
