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

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  const abandoned = new Set<Socket>()
  let isOpen = true
  let target = targetPort
  let cutMarker: string | undefined
  let cutsLeft = 0
  let cutCount = 0

  const server: Server = createServer((near) => {
    if (!isOpen) {
      near.destroy()
      return
    }
    const far = connect(target, '127.0.0.1')
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
      if (cutsLeft > 0 && cutMarker !== undefined && chunk.includes(cutMarker)) {
        cutsLeft -= 1
        isMarked = true
      }
      far.write(chunk)
    })
    far.on('data', (chunk) => {
      if (abandoned.has(near)) return
      if (isMarked) {
        cutCount += 1
        near.resetAndDestroy()
        end()
      } else near.write(chunk)
    })
    for (const socket of pair) {
      socket.setNoDelay(true)
      socket.on('error', end)
      socket.on('close', end)
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve())
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('unable to start the proxy; it has no port')
  const cutAll = (): void => {
    for (const [near, far] of [...pairs]) {
      near.resetAndDestroy()
      far.destroy()
    }
  }
  return {
    port: address.port,
    get cutCount() {
      return cutCount
    },
    cutReplies(marker, times) {
      cutMarker = marker
      cutsLeft = times
    },
    close() {
      isOpen = false
      cutAll()
    },
    open() {
      isOpen = true
    },
    abandon() {
      for (const [near, far] of pairs) {
        abandoned.add(near)
        far.destroy()
      }
    },
    retarget(port) {
      target = port
      cutAll()
    },
    async remove() {
      isOpen = false
      cutAll()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
