/**
 * Reads and signs the session cookie. Every transport uses this one reader: with two readers, the
 * same cookie could be valid over HTTP and not over a WebSocket.
 *
 * Python clients (aiohttp, python-socketio) put a value with a `/` in double quotes, as RFC 6265
 * allows. So quotes are accepted when reading, and signatures use the URL alphabet (base64url), so
 * that no value needs quotes. Cookies signed with the older alphabet (base64) stay valid.
 */
import { Signer } from '@fastify/cookie'

const quoted = /^"(.*)"$/

/**
 * Returns the first cookie of this name, decoded. Returns undefined if there is none or it cannot
 * be decoded.
 */
export function readCookie(header: string, name: string): string | undefined {
  for (const part of header.split(';')) {
    const equals = part.indexOf('=')
    if (equals === -1 || part.slice(0, equals).trim() !== name) continue
    const value = part.slice(equals + 1).trim()
    try {
      return decodeURIComponent(quoted.exec(value)?.[1] ?? value)
    } catch {
      return undefined
    }
  }
  return undefined
}

/** Signs cookies like @fastify/cookie, but in the URL alphabet (base64url). */
export class CookieSigner {
  readonly #signer: Signer

  constructor(secret: string) {
    this.#signer = new Signer(secret)
  }

  sign(value: string): string {
    return toUrlAlphabet(this.#signer.sign(value))
  }

  unsign(signed: string): ReturnType<Signer['unsign']> {
    return this.#signer.unsign(mapSignature(signed, (signature) => signature.replaceAll('-', '+').replaceAll('_', '/')))
  }
}

/** Returns a signed value with its signature in the URL alphabet, whichever alphabet it had. */
export function toUrlAlphabet(signed: string): string {
  return mapSignature(signed, (signature) => signature.replaceAll('+', '-').replaceAll('/', '_'))
}

function mapSignature(signed: string, map: (signature: string) => string): string {
  const dot = signed.lastIndexOf('.')
  return dot === -1 ? signed : `${signed.slice(0, dot)}.${map(signed.slice(dot + 1))}`
}
