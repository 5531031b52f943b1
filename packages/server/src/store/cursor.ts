/**
 * The cursor: an opaque string that says "I have everything up to here, in all my conversations" (rules RES1 to RES3).
 *
 * It holds the epoch and a position: a transaction id below which everything was visible or aborted when it was handed
 * out. While pages follow, it also holds the position of the first page and how far the paging has come. It is not
 * signed: what a reader gets is decided by membership when it is read, so a forged cursor only asks for more or less of
 * one's own.
 */
import type { Id } from '@chorus/protocol'

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

const format = 1

export function encodeCursor({ epoch, position, paging }: Cursor): string {
  const fields =
    paging === undefined
      ? [format, epoch, position]
      : [format, epoch, position, paging.nextPosition, paging.conversation, paging.seq]
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const isPosition = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** Undefined: not a cursor of this server, answered with `reset`. */
export function decodeCursor(text: string): Cursor | undefined {
  let fields: unknown
  try {
    fields = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
  if (!Array.isArray(fields)) return undefined
  const [version, epoch, position, nextPosition, conversation, seq] = fields as unknown[]
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

/** The same for pages of lists, where a page token names the last row shown. */
export function encodePageToken(fields: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/** Undefined: not a page token. */
export function decodePageToken(text: string): readonly (string | number)[] | undefined {
  try {
    const fields: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    if (!Array.isArray(fields)) return undefined
    return fields.every((field) => typeof field === 'string' || typeof field === 'number') ? fields : undefined
  } catch {
    return undefined
  }
}
