/**
 * HTTP requests that every kind of client makes, recorded in the history: pages, read markers,
 * members, and the sync request that starts a stream of changes.
 */
import { errorCatalogue, isErrorCode } from '@chorus/protocol'
import type { SyncPage } from '@chorus/protocol'
import type { HttpAnswer, HttpUser } from '@chorus/testkit'
import { hashText } from '../history/index.ts'
import type { PageResult } from '../history/index.ts'
import type { Outcome } from './recorder.ts'

export const callTimeoutMs = 10_000

interface PageBody {
  readonly messages: readonly {
    readonly seq: number
    readonly version: number
    readonly sender: string
    readonly text: string
    readonly deletedAt: string | null
  }[]
  readonly seq: number
  readonly hasBefore: boolean
  readonly hasAfter: boolean
}

/**
 * Makes a request and returns its outcome. If no response of a Chorus server arrives, it is unknown
 * whether the change was made.
 */
export async function callForOutcome<Body>(
  http: HttpUser,
  method: string,
  path: string,
  body: unknown,
  read: (body: Body, status: number) => Omit<Extract<Outcome, { type: 'ok' }>, 'type'>,
): Promise<Outcome> {
  let answer: HttpAnswer
  try {
    answer = await http.call(method, path, body, { timeoutMs: callTimeoutMs })
  } catch (error) {
    const isTimeout = error instanceof Error && error.name === 'TimeoutError'
    return { type: 'info', code: isTimeout ? 'timeout' : 'gone' }
  }
  if (answer.status < 300) return { type: 'ok', ...read(answer.body as Body, answer.status) }
  return toOutcome(codeOf(answer.body), Number(answer.headers['retry-after'] ?? 0) * 1_000)
}

function codeOf(body: unknown): string {
  if (typeof body === 'object' && body !== null && 'code' in body && typeof body.code === 'string') return body.code
  // The response does not come from a Chorus server but, for example, from the balancer. It is
  // unknown whether a server executed the request.
  return 'unknown'
}

/** Returns the outcome of an attempt that got this error code. */
export function toOutcome(code: string, retryAfterMs = 0): Outcome {
  if (!isErrorCode(code) || code === 'unknown') return { type: 'info', code }
  return {
    type: 'fail',
    code,
    // With an ended session, the message may still be sent by another client of the user, but this
    // client cannot retry.
    isFinal: errorCatalogue[code].retry === 'never',
    ...(retryAfterMs > 0 && { retryAfterMs }),
  }
}

export function readPage(http: HttpUser, conversation: string, query: string): Promise<Outcome> {
  return callForOutcome<PageBody>(
    http,
    'GET',
    `/v1/conversations/${conversation}/messages?${query}`,
    undefined,
    (page) => ({ page: toPageResult(page) }),
  )
}

function toPageResult({ messages, seq, hasBefore, hasAfter }: PageBody): PageResult {
  return {
    top: seq,
    hasBefore,
    hasAfter,
    items: messages.map((message) => ({
      seq: message.seq,
      version: message.version,
      sender: message.sender,
      hash: message.deletedAt === null ? hashText(message.text) : 0,
    })),
  }
}

/**
 * Starting point of a client that has no cursor: a cursor, the database's epoch, and the newest
 * sequence number (seq) of each conversation.
 */
export interface StreamStart {
  readonly cursor: string
  readonly epoch: string
  readonly tops: ReadonlyMap<string, number>
}

const syncPagesMax = 100

export async function readStart(http: HttpUser): Promise<StreamStart> {
  const tops = new Map<string, number>()
  let cursor: string | undefined
  for (let pages = 0; pages < syncPagesMax; pages += 1) {
    const path = `/v1/sync?limit=200${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const { body } = await http.expect<SyncPage>(200, 'GET', path)
    for (const { conversation, seq, left, changes } of body.conversations) {
      if (left === true) tops.delete(conversation)
      else tops.set(conversation, Math.max(seq, changes.at(-1)?.seq ?? 0))
    }
    cursor = body.cursor
    if (!body.more) return { cursor, epoch: body.epoch, tops }
  }
  throw new Error('unable to open a stream; sync does not end')
}
