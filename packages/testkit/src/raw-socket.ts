/** A bare TCP connection for what no client library would send. It keeps what came back, with a bound. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { waitForFact } from './wait-for-fact.ts'

const keptMaxBytes = 4 * 1024 * 1024

export class RawSocket {
  readonly socket: Socket
  /** Everything that came back so far. */
  text = ''
  isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      if (this.text.length < keptMaxBytes) this.text += chunk.toString('latin1')
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.isClosed = true
    })
  }

  static connect(port: number): Promise<RawSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(new RawSocket(socket)))
      socket.once('error', reject)
    })
  }

  /** Sends bytes as they are; after a close of the other side nothing happens. */
  send(bytes: string | Buffer): void {
    if (this.socket.writable) this.socket.write(bytes)
  }

  /** The status of the first answer; 0 before one came. */
  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.text)?.[1] ?? 0)
  }

  async waitForStatus(timeoutMs = 10_000): Promise<number> {
    return waitForFact(() => this.status, { what: 'an answer', timeoutMs })
  }

  async waitForClose(timeoutMs = 10_000): Promise<void> {
    await waitForFact(() => this.isClosed, { what: 'the end of the connection', timeoutMs })
  }

  close(): void {
    this.socket.destroy()
  }
}
