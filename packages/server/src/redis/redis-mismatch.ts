/**
 * Finds out why a connection that was accepted cannot be used: plain text sent to a TLS port, TLS
 * sent to a plain-text port, or no Redis at all. Waiting cannot fix these problems, so the server
 * refuses to start with this reason.
 */
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'

const waitMs = 1_000

/**
 * Sends PING in plain text, checks the first byte of the response, and then tries a TLS handshake.
 * Returns undefined if it finds no mismatch.
 */
export async function findRedisMismatch(address: string): Promise<string | undefined> {
  const url = new URL(address)
  const place = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 6379), timeout: waitMs }
  const first = await readFirstByte(place)
  if (first === '+' || first === '-')
    return url.protocol === 'rediss:' ? 'it speaks plain text, not TLS: use redis://' : undefined
  if (url.protocol === 'redis:' && (await speaksTls(place))) return 'it speaks TLS: use rediss://'
  return first === undefined || /[\u0015\u0016]/.test(first) ? undefined : 'the server at this address is not Redis'
}

interface Place {
  readonly host: string
  readonly port: number
  readonly timeout: number
}

function speaksTls(place: Place): Promise<boolean> {
  return new Promise((resolve) => {
    // The certificate is not verified, because no data is sent here. The real connection verifies
    // it.
    const socket = connectTls({ ...place, rejectUnauthorized: false })
    const end = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('secureConnect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
    socket.once('close', () => end(false))
  })
}

function readFirstByte(place: Place): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(place)
    const end = (answer?: string): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', (bytes) => end(String.fromCharCode(bytes[0] ?? 0)))
    socket.once('timeout', () => end())
    socket.once('error', () => end())
    socket.once('close', () => end())
  })
}
