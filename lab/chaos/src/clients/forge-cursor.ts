/**
 * Forges cursors from a real one, for a hostile client. The server must reject every forged cursor.
 */
import type { Random } from '../random/random.ts'

/** Length in bytes of the seal, a keyed checksum at the beginning of a cursor. */
const sealBytes = 16

/**
 * Returns a forged cursor, made from the real `cursor`. It claims that the client has read
 * `conversation` beyond its newest sequence number `top`. This code uses the server's private
 * format on purpose: if the server did not check the seal, it would accept this cursor.
 */
export function forgeCursor(cursor: string, conversation: string, top: number, random: Random): string {
  const bytes = Buffer.from(cursor, 'base64url')
  const [, epoch, position] = readFields(bytes.subarray(sealBytes)) ?? readFields(bytes) ?? [0, '', 0]
  const seq = random.pick([top + 1, top + 50, Number.MAX_SAFE_INTEGER])
  const paged = (format: number): Buffer =>
    Buffer.from(JSON.stringify([format, epoch, position, position, conversation, seq]))
  switch (random.pick(['seal', 'unsealed', 'spelling', 'cut', 'noise'] as const)) {
    case 'seal':
      return Buffer.concat([bytes.subarray(0, sealBytes), paged(2)]).toString('base64url')
    case 'unsealed':
      return paged(1).toString('base64url')
    case 'spelling':
      return `${cursor}=`
    case 'cut':
      return cursor.slice(0, Math.floor(cursor.length * random.next()))
    case 'noise':
      return Buffer.from(Array.from({ length: 60 }, () => Math.floor(random.next() * 256))).toString('base64url')
  }
}

function readFields(bytes: Buffer): readonly unknown[] | undefined {
  try {
    const fields: unknown = JSON.parse(bytes.toString('utf8'))
    if (!Array.isArray(fields)) return undefined
    const [, epoch] = fields as unknown[]
    return typeof epoch === 'string' ? (fields as unknown[]) : undefined
  } catch {
    return undefined
  }
}
