/**
 * A plain TCP connection, which can send bytes that no client library would send. It stores the
 * received bytes, up to a limit.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { patienceMs, waitForFact } from './wait-for-fact.ts'

const keptMaxBytes = 4 * 1024 * 1024

export class RawSocket {
  readonly socket: Socket
  /** Text received so far. */
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

  /** Sends raw bytes. Does nothing after the other side has closed the connection. */
  send(bytes: string | Buffer): void {
    if (this.socket.writable) this.socket.write(bytes)
  }

  /** HTTP status of the first response. 0 before the response arrives. */
  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.text)?.[1] ?? 0)
  }

  async waitForStatus(timeoutMs = patienceMs): Promise<number> {
    return waitForFact(() => this.status, { what: 'an answer', timeoutMs })
  }

  async waitForClose(timeoutMs = patienceMs): Promise<void> {
    await waitForFact(() => this.isClosed, { what: 'the end of the connection', timeoutMs })
  }

  close(): void {
    this.socket.destroy()
  }
}
