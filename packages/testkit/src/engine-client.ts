/**
 * An Engine.IO client over a plain WebSocket, for packets that no Socket.IO client would send. It
 * answers pings and stores every text packet in order.
 */
import { WebSocket } from 'ws'
import { patienceMs, waitForFact } from './wait-for-fact.ts'

const keptPacketsMax = 100_000

export interface EngineClientOptions {
  readonly cookie?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  /** Query parameters for the URL. They override `EIO=4&transport=websocket`. */
  readonly query?: Readonly<Record<string, string>>
}

export class EngineClient {
  readonly ws: WebSocket
  readonly packets: string[] = []
  /** Close code once the connection is closed, or the HTTP status when the upgrade was refused. */
  end: { readonly code: number } | { readonly status: number } | undefined

  private constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', (data, isBinary) => {
      if (isBinary) return
      const text = (data as Buffer).toString('utf8')
      if (text === '2') ws.send('3')
      if (this.packets.length < keptPacketsMax) this.packets.push(text)
    })
    ws.on('error', () => undefined)
    ws.on('unexpected-response', (_request, response) => {
      this.end = { status: response.statusCode ?? 0 }
      ws.terminate()
    })
    ws.on('close', (code) => {
      this.end ??= { code }
    })
  }

  static open(url: string, options: EngineClientOptions = {}): EngineClient {
    const address = new URL('/socket.io/', url)
    address.protocol = 'ws:'
    for (const [name, value] of Object.entries({ EIO: '4', transport: 'websocket', ...options.query })) {
      address.searchParams.set(name, value)
    }
    const headers = { ...(options.cookie !== undefined && { cookie: options.cookie }), ...options.headers }
    return new EngineClient(new WebSocket(address, { headers, perMessageDeflate: false, handshakeTimeout: 10_000 }))
  }

  /** Opens a connection and waits for the server's `ready` event. */
  static async connect(url: string, options: EngineClientOptions = {}): Promise<EngineClient> {
    const client = EngineClient.open(url, options)
    await client.waitForPacket((packet) => packet.startsWith('0{'))
    client.send('40')
    await client.waitForPacket((packet) => packet.startsWith('42["ready"'))
    return client
  }

  get isClosed(): boolean {
    return this.end !== undefined
  }

  send(data: string | Buffer): void {
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(data, () => undefined)
  }

  async waitForPacket(fits: (packet: string) => boolean, what = 'a packet', timeoutMs = patienceMs): Promise<string> {
    return waitForFact(
      () => {
        if (this.isClosed && !this.packets.some(fits)) throw new Error(`closed: ${JSON.stringify(this.end)}`)
        return this.packets.find(fits)
      },
      { what, timeoutMs },
    )
  }

  async waitForClose(timeoutMs = patienceMs): Promise<void> {
    await waitForFact(() => this.isClosed, { what: 'the end of the connection', timeoutMs })
  }

  /**
   * Stops reading from the socket. Data from the server then fills the buffers of the kernel, and
   * after that those of the server.
   */
  pause(): void {
    this.ws.pause()
  }

  resume(): void {
    this.ws.resume()
  }

  close(): void {
    this.ws.terminate()
  }
}
