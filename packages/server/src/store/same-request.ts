/**
 * What "the same request" means (rule IDEM1): text, reply and `data` are equal, and `data` is compared as a value, because the
 * order of an object's keys is no part of it.
 *
 * The log compares hashes of the request as it was written: that is what all versions store, and nearly always enough. Only
 * where it says `conflict` is the row looked at again.
 */
import { hash } from 'node:crypto'
import type { Id, Json } from '@chorus/protocol'
import type { Database } from './database.ts'

export interface RequestParts {
  readonly text: string
  readonly replyTo: number | null
  readonly data: Json
}

/** As hex. Edits and deletion do not touch what is stored of it. */
export function hashRequest({ text, replyTo, data }: RequestParts): string {
  return hash('sha256', JSON.stringify([text, replyTo, data]))
}

/** The same value with every object's keys in one order. */
export function withSortedKeys(value: Json): Json {
  if (value === null || typeof value !== 'object') return value
  if (isArray(value)) return value.map(withSortedKeys)
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(entries.map(([key, item]) => [key, withSortedKeys(item)]))
}

/** `Array.isArray` does not narrow a readonly array. */
const isArray = (value: Json): value is readonly Json[] => Array.isArray(value)

const isEqual = (one: Json, other: Json): boolean =>
  JSON.stringify(withSortedKeys(one)) === JSON.stringify(withSortedKeys(other))

export interface FirstRequest {
  readonly seq: number
  readonly at: string
}

/**
 * The message that this request stored before, with its keys in another order; undefined when that message is another. An edit
 * replaces the text and keeps `data`: its first text is known by the hash. Of a deleted message only a request in the order
 * of its first or in sorted order is known.
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
