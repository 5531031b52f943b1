/**
 * Ends a TCP socket that no HTTP server or WebSocket looks after.
 *
 * Guarantee: the socket is closed within a second, even if the client neither reads the last bytes
 * nor closes its side. An error of the socket, such as a reset by the client, never becomes an
 * uncaught exception.
 */
import type { Duplex } from 'node:stream'

/** Maximum time in which the client can read the last bytes. */
const endMs = 1_000

const ignore = (): void => undefined

/** Ignores errors of the socket. A `close` event follows each of them. */
export function ignoreErrors(socket: Duplex): void {
  socket.on('error', ignore)
}

/** Sends `last`, then closes the socket. Discards everything that the client still sends. */
export function endSocket(socket: Duplex, last: string): void {
  ignoreErrors(socket)
  const timer = setTimeout(() => socket.destroy(), endMs)
  socket.once('close', () => clearTimeout(timer))
  socket.resume()
  socket.end(last)
}
