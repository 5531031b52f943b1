/**
 * Defines when a repeated message is "the same request" (rule IDEM1): text, reply and `data` are
 * equal. `data` is compared as a value, because the order of an object's keys does not matter.
 *
 * SQL compares hashes of the request as the client wrote it. All versions of Chorus store these
 * hashes, and they nearly always suffice. Only if SQL reports `conflict`, the server compares the
 * request with the stored message.
 */
import { hash } from 'node:crypto'
import type { Id, Json } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

export interface RequestParts {
  readonly text: string
  readonly replyTo: number | null
  readonly data: Json
}

/** Returns the hash of a request, as hex. Edits and deletion do not change the stored hash. */
export function hashRequest({ text, replyTo, data }: RequestParts): string {
  return hash('sha256', JSON.stringify([text, replyTo, data]))
}

/** Returns the hash of a request, as hex. The order of the keys of its objects does not matter. */
export function hashValue(request: object): string {
  return hash('sha256', JSON.stringify(withSortedKeys(request as Json)))
}

/** Returns the same value with the keys of every object sorted. */
export function withSortedKeys(value: Json): Json {
  if (value === null || typeof value !== 'object') return value
  if (isArray(value)) return value.map(withSortedKeys)
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(entries.map(([key, item]) => [key, withSortedKeys(item)]))
}

/** Needed because `Array.isArray` does not narrow a readonly array. */
const isArray = (value: Json): value is readonly Json[] => Array.isArray(value)

const isEqual = (one: Json, other: Json): boolean =>
  JSON.stringify(withSortedKeys(one)) === JSON.stringify(withSortedKeys(other))

export interface FirstRequest {
  readonly seq: number
  readonly at: string
}

/**
 * Returns the message that this request stored earlier with its keys in another order. Returns
 * undefined if the stored message comes from another request.
 *
 * An edit replaces the text and keeps `data`, so the original text can only be compared by its
 * hash. A deletion also removes `data`. So a deleted message is recognised only if the keys of the
 * repeated `data` have their original order or are sorted.
 */
export async function findSameRequest(
  database: Database,
  request: RequestParts & { readonly conversation: Id; readonly actor: Id; readonly clientId: Id },
): Promise<FirstRequest | undefined> {
  const [row] = await database.query<FirstRequest & { readonly request_hash: Buffer; readonly data: Json }>({
    name: 'read_first_request',
    text: `select seq, at, request_hash, data from changes where actor = $1 and conversation = $2 and client_id = $3`,
    values: [request.actor, request.conversation, request.clientId],
  })
  if (row === undefined) return undefined
  const candidates = [withSortedKeys(request.data)]
  if (row.data !== null && isEqual(row.data, request.data)) candidates.push(row.data)
  const stored = row.request_hash.toString('hex')
  const isSame = candidates.some((data) => hashRequest({ ...request, data }) === stored)
  return isSame ? { seq: row.seq, at: row.at } : undefined
}
