/**
 * Encodes and decodes cursors: opaque strings that say "I have everything up to here, in all my
 * conversations" (rules RES1 to RES4).
 *
 * A cursor holds the epoch and a position: a transaction id. When the cursor was issued, every
 * transaction below it was visible or aborted. During a sync of several pages it also holds the
 * position of the first page and the last conversation sent.
 *
 * A cursor is signed with an HMAC whose key is stored in the database, so clients cannot invent
 * one. A cursor is not bound to a user: membership is checked when changes are read. With another
 * user's cursor, a client still gets only changes of its own conversations, but possibly too many
 * or too few.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { type Id, limits } from '@chorus/protocol'

export interface CursorPaging {
  /**
   * Position of the cursor that the client gets when all pages are sent. It was read together with
   * the first page, so changes written during the sync are not lost.
   */
  readonly nextPosition: number
  /**
   * Conversation that was being sent when this cursor was issued. Its changes up to `seq` were
   * sent. Conversations with lower ids were sent completely.
   */
  readonly conversation: Id
  readonly seq: number
}

export interface Cursor {
  readonly epoch: string
  readonly position: number
  readonly paging?: CursorPaging
}

/** Version of the cursor format. Version 1 had no signature. */
const format = 2
/** Length of the signature: the first 16 of the 32 bytes of the SHA-256 HMAC. */
const sealBytes = 16
/**
 * Text put before the signed bytes, so that the signature of a cursor is not valid for other data
 * signed with the same key.
 */
const purpose = 'chorus cursor\n'

export class CursorCodec {
  readonly #key: KeyObject

  /**
   * Creates a codec.
   *
   * @param key - secret stored in the database, the same on every server
   */
  constructor(key: string) {
    this.#key = createSecretKey(Buffer.from(key, 'utf8'))
  }

  encode({ epoch, position, paging }: Cursor): string {
    const fields =
      paging === undefined
        ? [format, epoch, position]
        : [format, epoch, position, paging.nextPosition, paging.conversation, paging.seq]
    const body = Buffer.from(JSON.stringify(fields))
    return Buffer.concat([this.#seal(body), body]).toString('base64url')
  }

  /**
   * Decodes a cursor. Returns undefined unless the text is the exact spelling of a cursor issued by
   * a server of this database.
   */
  decode(text: string): Cursor | undefined {
    const bytes = fromBase64url(text)
    if (bytes === undefined || bytes.length <= sealBytes) return undefined
    const body = bytes.subarray(sealBytes)
    if (!timingSafeEqual(this.#seal(body), bytes.subarray(0, sealBytes))) return undefined
    return readFields(parseArray(body))
  }

  #seal(body: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(purpose).update(body).digest().subarray(0, sealBytes)
  }
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const isPosition = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/**
 * Returns the fields of a cursor. Checks their types even though the signature is valid, because a
 * later version may sign other fields with the same key.
 */
function readFields(fields: readonly unknown[] | undefined): Cursor | undefined {
  if (fields === undefined) return undefined
  const [version, epoch, position, nextPosition, conversation, seq] = fields
  if (version !== format || typeof epoch !== 'string' || !isPosition(position)) return undefined
  if (fields.length === 3) return { epoch, position }
  if (
    fields.length !== 6 ||
    !isPosition(nextPosition) ||
    typeof conversation !== 'string' ||
    !uuid.test(conversation) ||
    !isPosition(seq)
  ) {
    return undefined
  }
  return { epoch, position, paging: { nextPosition, conversation, seq } }
}

/** Encodes the last row of a page of a list. The next page starts after that row. */
export function encodePageToken(fields: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/** Validators for the fields of page tokens. No other values reach an SQL statement. */
const tokenFields = {
  id: (value: unknown): boolean => typeof value === 'string' && uuid.test(value),
  /**
   * Transaction id in decimal digits. Postgres ids can have 19 digits; this accepts 16, enough for
   * all ids below 2^53.
   */
  xid: (value: unknown): boolean => typeof value === 'string' && /^(?:0|[1-9]\d{0,15})$/.test(value),
  seq: (value: unknown): boolean => isPosition(value),
} as const

export type TokenField = keyof typeof tokenFields
type TokenValue<Field extends TokenField> = Field extends 'seq' ? number : string

/**
 * Decodes a page token. Returns undefined unless the text is the exact spelling of a page token
 * with exactly these fields.
 */
export function decodePageToken<const Fields extends readonly TokenField[]>(
  text: string,
  fields: Fields,
): { readonly [Index in keyof Fields]: TokenValue<Fields[Index]> } | undefined {
  const bytes = fromBase64url(text)
  const values = bytes === undefined ? undefined : parseArray(bytes)
  if (values?.length !== fields.length) return undefined
  if (!fields.every((field, index) => tokenFields[field](values[index]))) return undefined
  if (encodePageToken(values as (string | number)[]) !== text) return undefined
  return values as unknown as { readonly [Index in keyof Fields]: TokenValue<Fields[Index]> }
}

/**
 * Decodes base64url, and refuses all but the canonical text. Node's decoder would also accept
 * padding, white space, the other base64 alphabet and trailing text.
 */
function fromBase64url(text: string): Buffer | undefined {
  if (text.length > limits.cursorMaxChars) return undefined
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

function parseArray(bytes: Buffer): readonly unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}
