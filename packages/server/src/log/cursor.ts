/**
 * Encodes and decodes cursors: opaque strings that say "I have everything up to here, in all my
 * conversations" (rules RES1 to RES4).
 *
 * A cursor holds the epoch and a position: a transaction id below which everything was visible or
 * aborted when the cursor was issued. During a sync of several pages it also holds the position of
 * the first page and the progress of the paging.
 *
 * A cursor is sealed with an HMAC whose key is stored in the database. So every number in it was
 * read from the database by a server, and clients cannot invent one. A cursor is not bound to a
 * user: membership is checked when changes are read. With another user's cursor a client only gets
 * more or fewer changes of its own conversations.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { type Id, limits } from '@chorus/protocol'

export interface CursorPaging {
  /** Position for the cursor after the last page: that of the first page's snapshot. */
  readonly nextPosition: number
  /** Last conversation already sent, up to `seq`. Conversations before it are complete. */
  readonly conversation: Id
  readonly seq: number
}

export interface Cursor {
  readonly epoch: string
  readonly position: number
  readonly paging?: CursorPaging
}

/** Version of the cursor format. Version 1 had no seal. */
const format = 2
/** Length of the seal: 16 of the 32 bytes of SHA-256. */
const sealBytes = 16
/**
 * Prefix of the sealed bytes. Prevents a cursor's seal from being valid for other data under the
 * same key.
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
 * Checks the types even behind a valid seal: a later version may seal other fields with the same
 * key.
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

/** Encodes the last row shown: the next page of a list starts after it. */
export function encodePageToken(fields: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/** Allowed values of page token fields. Other values never reach a statement. */
const tokenFields = {
  id: (value: unknown): boolean => typeof value === 'string' && uuid.test(value),
  /** Transaction id in decimal digits. Postgres ids can have 19 digits; a position fits in 2^53. */
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
 * Decodes only the canonical spelling. Node alone would also accept padding, white space, the other
 * alphabet and trailing text.
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
