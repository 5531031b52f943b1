/**
 * Encodes and decodes bus messages (rule BUS1). Messages from the bus are not trusted, because any
 * client that reaches Redis can publish, too.
 *
 * ```
 * version 1 byte · sender 8 bytes · HMAC-SHA-256 32 bytes · header length 4 bytes · header (JSON) · body
 * ```
 * The HMAC covers the channel and all bytes except its own. The sender encodes the JSON of the body
 * once; the receiver cuts it by the lengths in the header and never parses it. Decoding never
 * throws: every malformed message is refused with a reason. Only the last change of a message may
 * change the set of members, and with it who may see the next change (rule ACL1). The header
 * carries that effect.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto'
import { type Id, idSchema, limits, roleSchema } from '@chorus/protocol'
import { z } from 'zod'
import type { LoggedChange, MembershipEffect } from '../support/logged-change.ts'
import type { BusChannel, BusMessage } from './bus.ts'

export const codecLimits = {
  changesMax: limits.changesPerEventMax,
  headerMaxBytes: 65_536,
  bodyMaxBytes: 1_048_576,
  sessionsMax: 1_000,
} as const

const version = 1
const senderAt = 1
const macAt = 9
const lengthAt = 41
const headerAt = 45

/** Reason why a bus message was refused. */
export type Refusal = 'size' | 'version' | 'length' | 'hmac' | 'header' | 'channel'

export type Decoded =
  | { readonly kind: 'message'; readonly message: BusMessage }
  /** A message that this server itself sent. */
  | { readonly kind: 'echo' }
  | { readonly kind: 'refused'; readonly reason: Refusal }

const epochSchema = z.string().max(200)
const seqSchema = z.int().min(1).max(limits.seqMax)

const effectSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('joined'), user: idSchema }),
  z.strictObject({ kind: z.literal('left'), user: idSchema }),
  z.strictObject({ kind: z.literal('updated'), user: idSchema, role: roleSchema }),
])

const headerSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('changes'),
    epoch: epochSchema,
    conversation: idSchema,
    /** Seq of the first change in the message. The changes after it have consecutive seqs. */
    first: seqSchema,
    /** Length in bytes of each change in the message body. */
    lengths: z.array(z.int().min(2).max(codecLimits.bodyMaxBytes)).min(1).max(codecLimits.changesMax),
    xids: z.array(z.int().min(0).max(Number.MAX_SAFE_INTEGER)).min(1).max(codecLimits.changesMax),
    /** Effect of the last change in the message on the set of members. */
    effect: effectSchema.optional(),
  }),
  z.strictObject({ kind: z.literal('live'), conversation: idSchema }),
  z.strictObject({ kind: z.literal('membership'), user: idSchema, conversation: idSchema }),
  z.strictObject({
    kind: z.literal('read-marker'),
    epoch: epochSchema,
    user: idSchema,
    conversation: idSchema,
    readSeq: z.int().min(0).max(limits.seqMax),
  }),
  z.strictObject({ kind: z.literal('revoked'), sessions: z.array(idSchema).max(codecLimits.sessionsMax) }),
  z.strictObject({ kind: z.literal('presence'), user: idSchema }),
  z.strictObject({
    kind: z.literal('device'),
    user: idSchema,
    session: idSchema,
    status: z.enum(['online', 'away']).optional(),
    watched: z.array(idSchema).max(limits.listMaxIds).optional(),
  }),
])

type Header = z.infer<typeof headerSchema>

export class BusCodec {
  readonly #key: KeyObject
  readonly #sender = randomBytes(8)

  /** @param key - HMAC key, stored in the database and the same on every server */
  constructor(key: string) {
    this.#key = createSecretKey(Buffer.from(key, 'utf8'))
  }

  /**
   * Encodes a bus message. Returns undefined when the message exceeds {@link codecLimits}, or when
   * its changes cannot share one message: there are none, their seqs have gaps, or one before the
   * last changes the members.
   */
  encode(channel: BusChannel, message: BusMessage): Buffer | undefined {
    const parts = toParts(message)
    if (parts === undefined) return undefined
    const header = Buffer.from(JSON.stringify(parts.header), 'utf8')
    if (header.length > codecLimits.headerMaxBytes || parts.bodyBytes > codecLimits.bodyMaxBytes) return undefined
    const bytes = Buffer.allocUnsafe(headerAt + header.length + parts.bodyBytes)
    bytes[0] = version
    this.#sender.copy(bytes, senderAt)
    bytes.writeUInt32BE(header.length, lengthAt)
    header.copy(bytes, headerAt)
    let at = headerAt + header.length
    for (const piece of parts.body) at += bytes.write(piece, at, 'utf8')
    this.#mac(channel, bytes).copy(bytes, macAt)
    return bytes
  }

  decode(channel: BusChannel, bytes: Buffer): Decoded {
    if (bytes.length > headerAt + codecLimits.headerMaxBytes + codecLimits.bodyMaxBytes) return refused('size')
    if (bytes.length <= headerAt) return refused('length')
    if (bytes[0] !== version) return refused('version')
    // The sender is compared before the HMAC is verified. This is safe: a message that falsely
    // names this server as its sender is only dropped.
    if (this.#sender.equals(bytes.subarray(senderAt, macAt))) return { kind: 'echo' }
    const bodyAt = headerAt + bytes.readUInt32BE(lengthAt)
    if (bodyAt > bytes.length || bodyAt - headerAt > codecLimits.headerMaxBytes) return refused('length')
    if (!timingSafeEqual(this.#mac(channel, bytes), bytes.subarray(macAt, lengthAt))) return refused('hmac')
    const header = parseHeader(bytes.toString('utf8', headerAt, bodyAt))
    if (header === undefined) return refused('header')
    if (!belongsTo(channel, header)) return refused('channel')
    const message = fromParts(header, bytes.subarray(bodyAt))
    return message === undefined ? refused('length') : { kind: 'message', message }
  }

  #mac(channel: BusChannel, bytes: Buffer): Buffer {
    return createHmac('sha256', this.#key)
      .update(`${channel}\n`)
      .update(bytes.subarray(0, macAt))
      .update(bytes.subarray(lengthAt))
      .digest()
  }
}

const refused = (reason: Refusal): Decoded => ({ kind: 'refused', reason })

function parseHeader(text: string): Header | undefined {
  try {
    const outcome = headerSchema.safeParse(JSON.parse(text))
    return outcome.success ? outcome.data : undefined
  } catch {
    return undefined
  }
}

/** Parts of an encoded message. The pieces of its body are written one after another. */
interface Parts {
  readonly header: Header
  readonly body: readonly string[]
  readonly bodyBytes: number
}

const withBody = (header: Header, json: string): Parts => ({
  header,
  body: [json],
  bodyBytes: Buffer.byteLength(json),
})

const withoutBody = (header: Header): Parts => ({ header, body: [], bodyBytes: 0 })

function toParts(message: BusMessage): Parts | undefined {
  switch (message.kind) {
    case 'changes':
      return toChangesParts(message)
    case 'live':
      return withBody({ kind: 'live', conversation: message.conversation }, message.json)
    case 'read-marker': {
      const { json, ...header } = message
      return withBody({ ...header, kind: 'read-marker' }, json)
    }
    case 'revoked':
      if (message.sessions.length > codecLimits.sessionsMax) return undefined
      return withoutBody({ kind: 'revoked', sessions: [...message.sessions] })
    case 'device': {
      const { watched, ...header } = message
      return withoutBody({ ...header, ...(watched !== undefined && { watched: [...watched] }) })
    }
    case 'membership':
    case 'presence':
      return withoutBody(message)
  }
}

function toChangesParts({ epoch, conversation, changes }: Extract<BusMessage, { kind: 'changes' }>): Parts | undefined {
  const [first] = changes
  if (first === undefined || changes.length > codecLimits.changesMax) return undefined
  const lengths: number[] = []
  const xids: number[] = []
  const body: string[] = []
  let bodyBytes = 0
  for (const [index, change] of changes.entries()) {
    const isLast = index === changes.length - 1
    if (change.seq !== first.seq + index || (change.effect !== undefined && !isLast)) return undefined
    const bytes = Buffer.byteLength(change.json)
    bodyBytes += bytes
    lengths.push(bytes)
    xids.push(change.xid)
    body.push(change.json)
  }
  const effect = changes.at(-1)?.effect
  const header: Header = {
    kind: 'changes',
    epoch,
    conversation,
    first: first.seq,
    lengths,
    xids,
    ...(effect !== undefined && { effect }),
  }
  return { header, body, bodyBytes }
}

function belongsTo(channel: BusChannel, header: Header): boolean {
  switch (header.kind) {
    case 'changes':
    case 'live':
      return channel === `c:${header.conversation}`
    case 'device':
    case 'membership':
    case 'read-marker':
      return channel === `u:${header.user}`
    case 'presence':
      return channel === `p:${header.user}`
    case 'revoked':
      return channel === 'all'
  }
}

function fromParts(header: Header, body: Buffer): BusMessage | undefined {
  switch (header.kind) {
    case 'changes': {
      const { epoch, conversation, first, lengths, xids } = header
      const changes = toChanges({ conversation, first, lengths, xids, effect: header.effect }, body)
      return changes === undefined ? undefined : { kind: 'changes', epoch, conversation, changes }
    }
    case 'live':
    case 'read-marker':
      return { ...header, json: body.toString('utf8') }
    case 'device':
    case 'membership':
    case 'revoked':
    case 'presence':
      return body.length === 0 ? header : undefined
  }
}

interface ChangesHeader {
  readonly conversation: Id
  readonly first: number
  readonly lengths: readonly number[]
  readonly xids: readonly number[]
  readonly effect: MembershipEffect | undefined
}

function toChanges(header: ChangesHeader, body: Buffer): LoggedChange[] | undefined {
  const { conversation, first, lengths, xids, effect } = header
  if (xids.length !== lengths.length || first > limits.seqMax - lengths.length + 1) return undefined
  const changes: LoggedChange[] = []
  let at = 0
  for (const [index, length] of lengths.entries()) {
    const end = at + length
    if (end > body.length) return undefined
    changes.push({
      conversation,
      seq: first + index,
      xid: xids[index] as number,
      json: body.toString('utf8', at, end),
      effect: index === lengths.length - 1 ? effect : undefined,
    })
    at = end
  }
  return at === body.length ? changes : undefined
}
