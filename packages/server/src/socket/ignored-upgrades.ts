/**
 * Answers a request with an unsupported Upgrade header as a normal HTTP/1.1 request, as RFC 9110,
 * section 7.8, allows. Java's HttpClient asks for an upgrade to `h2c` with every first request, and
 * so does `curl --http2`. Node passes every Upgrade to the WebSocket listeners, with the body
 * unread. So this code puts the head of the request, without the Upgrade header, back in front of
 * the unread bytes, and lets Node parse the request again.
 */
import type { IncomingMessage, Server as HttpServer } from 'node:http'
import type { Duplex } from 'node:stream'
import { ignoreErrors } from '../support/end-socket.ts'

type UpgradeListener = (request: IncomingMessage, wire: Duplex, head: Buffer) => void

/**
 * Passes only WebSocket upgrades below `path` to the `upgrade` listeners. Must be called after all
 * of them are registered.
 */
export function ignoreForeignUpgrades(httpServer: HttpServer, path: string): void {
  const listeners = httpServer.listeners('upgrade') as UpgradeListener[]
  httpServer.removeAllListeners('upgrade')
  httpServer.on('upgrade', function (this: HttpServer, request: IncomingMessage, wire: Duplex, head: Buffer) {
    if (!isWebSocketOf(request, path)) {
      readAgain(this, request, wire, head)
      return
    }
    // Node has removed its error listener from the socket, and the WebSocket adds its own in a
    // later turn of the event loop. Without a listener in between, a client that resets the
    // connection would end this process.
    ignoreErrors(wire)
    for (const listener of listeners) listener.call(this, request, wire, head)
  })
}

function isWebSocketOf({ headers, url = '' }: IncomingMessage, path: string): boolean {
  return headers.upgrade?.trim().toLowerCase() === 'websocket' && url.startsWith(path)
}

function readAgain(httpServer: HttpServer, request: IncomingMessage, wire: Duplex, head: Buffer): void {
  wire.unshift(Buffer.concat([Buffer.from(headOf(request), 'latin1'), head]))
  httpServer.emit('connection', wire)
}

/** Returns the head of a request as it was received, without its upgrade headers. */
function headOf({ method = 'GET', url = '/', httpVersion, rawHeaders }: IncomingMessage): string {
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    const value = rawHeaders[at + 1] ?? ''
    switch (name.toLowerCase()) {
      case 'upgrade':
      case 'http2-settings':
        break
      case 'connection': {
        const left = value.split(',').filter((token) => !/^\s*(?:upgrade|http2-settings)\s*$/i.test(token))
        if (left.length > 0) text += `${name}: ${left.join(',')}\r\n`
        break
      }
      default:
        text += `${name}: ${value}\r\n`
    }
  }
  return `${text}\r\n`
}
