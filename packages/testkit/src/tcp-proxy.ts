/**
 * A TCP proxy that injects faults into a connection, such as that of a server to its database: it
 * cuts connections, drops responses, or forwards a request and drops its response, so that the
 * client cannot know whether it was executed.
 */
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** Number of responses dropped so far. */
  readonly cutCount: number
  /**
   * Cuts the responses of the next `times` requests that contain `marker`. Such a request reaches
   * the target, and both connections are cut at the first byte of the response. So the request is
   * executed, but its response is lost.
   */
  cutReplies(marker: string, times: number): void
  /** Cuts every connection and refuses new ones until `open`. */
  close(): void
  open(): void
  /**
   * Simulates a lost network route: on every open connection, the client receives no more data and
   * no end of the connection. New connections work.
   */
  abandon(): void
  /** Cuts all open connections and sends new ones to another port. */
  retarget(port: number): void
  /** Stops the proxy permanently. */
  remove(): Promise<void>
}

/** The open connections of a proxy, and the faults that it injects into them. */
interface Connections {
  /** Connections of clients, each with its connection to the target. */
  readonly pairs: Set<readonly [near: Socket, far: Socket]>
  /** Connections of clients that receive no more data. */
  readonly abandoned: Set<Socket>
  cutMarker: string | undefined
  cutsLeft: number
  cutCount: number
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const connections: Connections = {
    pairs: new Set(),
    abandoned: new Set(),
    cutMarker: undefined,
    cutsLeft: 0,
    cutCount: 0,
  }
  let isOpen = true
  let target = targetPort
  const server: Server = createServer((near) => {
    if (isOpen) forward(near, connect(target, '127.0.0.1'), connections)
    else near.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve())
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('unable to start the proxy; it has no port')
  return {
    port: address.port,
    get cutCount() {
      return connections.cutCount
    },
    cutReplies(marker, times) {
      connections.cutMarker = marker
      connections.cutsLeft = times
    },
    close() {
      isOpen = false
      cutAll(connections)
    },
    open() {
      isOpen = true
    },
    abandon() {
      for (const [near, far] of connections.pairs) {
        connections.abandoned.add(near)
        far.destroy()
      }
    },
    retarget(port) {
      target = port
      cutAll(connections)
    },
    async remove() {
      isOpen = false
      cutAll(connections)
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** Forwards data between a client and the target until either end closes or a fault cuts them. */
function forward(near: Socket, far: Socket, connections: Connections): void {
  const { pairs, abandoned } = connections
  const pair = [near, far] as const
  pairs.add(pair)
  let isMarked = false
  const end = (): void => {
    if (abandoned.has(near)) return
    near.destroy()
    far.destroy()
    pairs.delete(pair)
  }
  near.on('data', (chunk) => {
    if (abandoned.has(near)) return
    const { cutMarker, cutsLeft } = connections
    if (cutsLeft > 0 && cutMarker !== undefined && chunk.includes(cutMarker)) {
      connections.cutsLeft -= 1
      isMarked = true
    }
    far.write(chunk)
  })
  far.on('data', (chunk) => {
    if (abandoned.has(near)) return
    if (isMarked) {
      connections.cutCount += 1
      near.resetAndDestroy()
      end()
    } else near.write(chunk)
  })
  for (const socket of pair) {
    socket.setNoDelay(true)
    socket.on('error', end)
    socket.on('close', end)
  }
}

function cutAll({ pairs }: Connections): void {
  for (const [near, far] of [...pairs]) {
    near.resetAndDestroy()
    far.destroy()
  }
}
