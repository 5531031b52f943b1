/**
 * State of messages within cached changes (rule ERASE1).
 *
 * A read from the database shows each message in its current state, in every change about it. A
 * cached change shows the message as it was when it was cached, so a deleted text could still be
 * sent. So every cache applies the last edit or deletion of a message to its cached changes before
 * it sends them. The JSON text is replaced in part, without parsing: all encoders write the message
 * last, with its seq and version first.
 */
import { messageChangeTypes } from '@chorus/protocol'
import type { LoggedChange } from './logged-change.ts'

export interface MessageState {
  /** Seq of the message. */
  readonly target: number
  readonly version: number
  /** Index in the JSON where the message begins. */
  readonly at: number
}

/**
 * Types of changes that replace the text of a message: all types that contain a message, except its
 * creation.
 */
export const rewriteTypes = messageChangeTypes.filter((type) => type !== 'message.created')

const pattern = new RegExp(
  `^\\{"seq":\\d+,"at":"[^"]*","actor":"[^"]*","type":"(?:${messageChangeTypes.join('|').replaceAll('.', '\\.')})"` +
    `,"message":(\\{"conversation":"[^"]*","seq":(\\d+),"version":(\\d+),)`,
)

/**
 * Reads the state of the message in a change. Returns undefined if the change is about no message.
 */
export function messageStateOf({ json }: LoggedChange): MessageState | undefined {
  const found = pattern.exec(json)
  if (found === null) return undefined
  const [head, message, target, version] = found as unknown as [string, string, string, string]
  return {
    target: Number(target),
    version: Number(version),
    at: head.length - message.length,
  }
}

const typeKey = '"type":"'

/**
 * Returns true if the change is an edit or a deletion: earlier texts of the message must then no
 * longer be shown. Looks only at the type, because this is asked
 * about every sent message. The first `"type":"` of a change is its type: a seq, a time and a user id
 * come before it.
 */
export function isRewrite({ json }: LoggedChange): boolean {
  const typeAt = json.indexOf(typeKey) + typeKey.length
  return rewriteTypes.some((type) => json.startsWith(type, typeAt) && json[typeAt + type.length] === '"')
}

/** Last edit or deletion of each message, by the seq of the message. */
export type Rewrites = ReadonlyMap<number, LoggedChange>

/**
 * Collects the last edit or deletion of each message in these changes. Returns undefined if there
 * is none.
 */
export function collectRewrites(changes: Iterable<LoggedChange>): Rewrites | undefined {
  let rewrites: Map<number, LoggedChange> | undefined
  for (const change of changes) {
    const state = isRewrite(change) ? messageStateOf(change) : undefined
    if (state === undefined) continue
    rewrites ??= new Map()
    const known = rewrites.get(state.target)
    if (known === undefined || known.seq < change.seq) rewrites.set(state.target, change)
  }
  return rewrites
}

/**
 * Returns the change with its message in the state after the given edits and deletions. Returns the
 * same change if its message is already in that state.
 */
export function rewritten(change: LoggedChange, rewrites: Rewrites): LoggedChange {
  const state = messageStateOf(change)
  const rewrite = state && rewrites.get(state.target)
  const newer = rewrite && messageStateOf(rewrite)
  if (state === undefined || rewrite === undefined || newer === undefined || newer.version <= state.version)
    return change
  return { ...change, json: change.json.slice(0, state.at) + rewrite.json.slice(newer.at) }
}

/**
 * Returns changes that are sent together. Each shows its message in the state after the last of
 * these changes. Changes before the removal of a member only show the state up to the removal,
 * because the removed user may not see a later one (rule ACL1).
 */
export function withNewestState(changes: readonly LoggedChange[]): readonly LoggedChange[] {
  if (changes.length < 2 || !changes.some(isRewrite)) return changes
  const settled: LoggedChange[] = []
  let rewrites = new Map<number, LoggedChange>()
  for (let index = changes.length - 1; index >= 0; index--) {
    const change = changes[index] as LoggedChange
    settled.push(rewritten(change, rewrites))
    if (change.effect?.kind === 'left') rewrites = new Map()
    const state = isRewrite(change) ? messageStateOf(change) : undefined
    if (state !== undefined && !rewrites.has(state.target)) rewrites.set(state.target, change)
  }
  return settled.reverse()
}
