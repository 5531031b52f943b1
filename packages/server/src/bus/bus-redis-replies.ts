/**
 * Parses the bytes that Redis sends on a connection (RESP3) into replies. Supports only the types
 * that a subscriber receives. Replies become plain values, and data that Redis pushes without a
 * request is marked as such. An oversized or malformed reply throws, and the caller closes the
 * connection.
 */

export const replyLimits = {
  /** Maximum size in bytes of an incomplete reply. */
  pendingMaxBytes: 4_194_304,
  depthMax: 8,
  elementsMax: 1_000_000,
} as const

export type Reply = string | number | Buffer | null | RedisRefusal | readonly Reply[]

/** An error that Redis returned as the reply to a command. */
export class RedisRefusal {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export interface Received {
  /**
   * True for data that Redis pushes without a request (messages, confirmations of subscriptions);
   * false for the reply to a command.
   */
  readonly isPush: boolean
  readonly reply: Reply
}

const incomplete = Symbol('incomplete')
const lineEnd = Buffer.from('\r\n')

export class ReplyReader {
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0

  /**
   * Returns every reply that the bytes so far complete. Throws when the bytes are not valid
   * replies.
   */
  read(chunk: Buffer): Received[] {
    const received: Received[] = []
    this.#bytes = this.#at === this.#bytes.length ? chunk : Buffer.concat([this.#bytes.subarray(this.#at), chunk])
    this.#at = 0
    while (this.#at < this.#bytes.length) {
      const start = this.#at
      const isPush = this.#bytes[start] === 0x3e
      const reply = this.#value(0)
      if (reply === incomplete) {
        this.#at = start
        if (this.#bytes.length - start > replyLimits.pendingMaxBytes) throw new Error('a reply is too long')
        break
      }
      received.push({ isPush, reply })
    }
    return received
  }

  #value(depth: number): Reply | typeof incomplete {
    if (depth > replyLimits.depthMax) throw new Error('a reply is nested too deep')
    const end = this.#bytes.indexOf(lineEnd, this.#at)
    if (end === -1) return incomplete
    const type = String.fromCharCode(this.#bytes[this.#at] as number)
    const line = this.#bytes.toString('latin1', this.#at + 1, end)
    this.#at = end + 2
    switch (type) {
      case '+':
      case ',':
      case '#':
      case '(':
        return line
      case '-':
        return new RedisRefusal(line)
      case ':':
        return Number(line)
      case '_':
        return null
      case '$':
      case '=':
      case '!':
        return this.#bulk(line)
      case '*':
      case '~':
      case '>':
        return this.#list(lengthOf(line), depth)
      case '%':
        return this.#list(lengthOf(line) * 2, depth)
      default:
        throw new Error(`a reply begins with ${JSON.stringify(type)}`)
    }
  }

  #bulk(line: string): Reply | typeof incomplete {
    if (line === '-1') return null
    const length = lengthOf(line)
    if (length > replyLimits.pendingMaxBytes) throw new Error('a reply is too long')
    const end = this.#at + length
    if (end + 2 > this.#bytes.length) return incomplete
    const bytes = this.#bytes.subarray(this.#at, end)
    this.#at = end + 2
    return bytes
  }

  #list(length: number, depth: number): Reply | typeof incomplete {
    if (length === -1) return null
    const values: Reply[] = []
    for (let index = 0; index < length; index++) {
      const value = this.#value(depth + 1)
      if (value === incomplete) return incomplete
      values.push(value)
    }
    return values
  }
}

function lengthOf(line: string): number {
  if (line === '-1') return -1
  const length = /^\d{1,10}$/.test(line) ? Number(line) : Number.NaN
  if (!(length <= replyLimits.elementsMax * 10)) throw new Error('a reply has an invalid length')
  return length
}

/** Encodes a Redis command as bytes to send. */
export function encodeCommand(args: readonly (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${args.length}\r\n`)]
  for (const arg of args) {
    const bytes = typeof arg === 'string' ? Buffer.from(arg) : arg
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, lineEnd)
  }
  return Buffer.concat(parts)
}

export function textOf(reply: Reply | undefined): string {
  if (typeof reply === 'string') return reply
  return Buffer.isBuffer(reply) ? reply.toString('utf8') : ''
}
