/**
 * Creates and reads the two kinds of links in mails. A confirmation link holds a random token and
 * works once; the database stores only its hash. An unsubscribe link is signed instead and never
 * expires, because mails stay in mailboxes; it can only switch the digest off.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

export interface ConfirmationToken {
  readonly token: string
  readonly hash: Buffer
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function createConfirmationToken(): ConfirmationToken {
  const token = randomBytes(32).toString('base64url')
  return { token, hash: hashOfToken(token) }
}

export function hashOfToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

export function signUnsubscribe(user: string, key: string): string {
  return `${user}.${macOf(user, key).toString('base64url')}`
}

/**
 * Returns the user whose digest the unsubscribe token switches off, or undefined if the token is
 * invalid.
 */
export function readUnsubscribe(token: string, key: string): string | undefined {
  const [user = '', mac = '', ...rest] = token.split('.', 3)
  if (!uuid.test(user) || rest.length > 0) return undefined
  const given = Buffer.from(mac, 'base64url')
  const expected = macOf(user, key)
  return given.length === expected.length && timingSafeEqual(given, expected) ? user : undefined
}

function macOf(user: string, key: string): Buffer {
  return createHmac('sha256', key).update(`unsubscribe\n${user}`).digest()
}
