/**
 * Cursors: opaque strings that say "I have everything up to here, in all my conversations" (rules RES1 to RES4).
 *
 * A cursor holds the epoch and a position: a transaction id below which everything was visible or aborted when the cursor
 * was issued. While pages follow, it also holds the position of the first page and how far the paging has come.
 *
 * A cursor is sealed with an HMAC whose key lives in the database. Every number in it was therefore read from the database
 * by a server, and no client can invent one. It is bound to no user: membership decides what a reader gets when it is read,
 * so the cursor of another user only asks for more or less of one's own conversations.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { type Id, limits } from '@chorus/protocol'

export interface CursorPaging {
  /** The position that the last page will hand out: of the snapshot of the first page. */
  readonly nextPosition: number
  /** Conversations up to and with this one are done up to `seq`. */
  readonly conversation: Id
  readonly seq: number
}

export interface Cursor {
  readonly epoch: string
  readonly position: number
  readonly paging?: CursorPaging
}

/** 1: without a seal. */
const format = 2
/** Of SHA-256's 32. */
const sealBytes = 16
/** Keeps a seal of this key from being valid for anything else that is ever sealed with it. */
const purpose = 'chorus cursor\n'

export class CursorCodec {
  readonly #key: KeyObject

  /** @param key - the same on every server; lives in the database */
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

  /** Returns undefined for anything but the one spelling of a cursor that a server of this database issued. */
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

/** The types are checked behind a valid seal, too: a later version may seal other fields with the same key. */
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

/** Encodes where the next page of a list begins: the last row shown. */
export function encodePageToken(fields: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/** What a field of a page token may hold: anything else never reaches a statement. */
const tokenFields = {
  id: (value: unknown): boolean => typeof value === 'string' && uuid.test(value),
  /** A transaction id in decimal digits; the largest that Postgres has needs 19 while a position fits 2^53. */
  xid: (value: unknown): boolean => typeof value === 'string' && /^(?:0|[1-9]\d{0,15})$/.test(value),
  seq: (value: unknown): boolean => isPosition(value),
} as const

export type TokenField = keyof typeof tokenFields
type TokenValue<Field extends TokenField> = Field extends 'seq' ? number : string

/** Returns undefined unless the text is the one spelling of a page token with exactly these fields. */
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

/** Decodes the one spelling: Node also reads padding, white space, the other alphabet and what follows the end. */
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
