/**
 * The state of messages within changes as they are kept in memory (rule ERASE1).
 *
 * A read from the database shows each message as it is by then, in every change that is about it. A change that is kept shows
 * the message as it was. So whatever keeps changes gives them the state of the last edit or deletion that it knows, before it
 * shows them again. JSON is spliced, not parsed: `encodeChange` and the reads write a message last and its seq and version
 * first.
 */
import type { LoggedChange } from './logged-change.ts'

export interface MessageState {
  /** The seq of the message. */
  readonly target: number
  readonly version: number
  /** An edit or a deletion: the text before it is shown no more. */
  readonly isRewrite: boolean
  /** Where the message begins in the JSON. */
  readonly at: number
}

const pattern =
  /^\{"seq":\d+,"at":"[^"]*","actor":"[^"]*","type":"message\.(created|edited|deleted)","message":(\{"conversation":"[^"]*","seq":(\d+),"version":(\d+),)/

/** Returns undefined for a change that is about no message. */
export function messageStateOf({ json }: LoggedChange): MessageState | undefined {
  const found = pattern.exec(json)
  if (found === null) return undefined
  const [head, type, message, target, version] = found as unknown as [string, string, string, string, string]
  return {
    target: Number(target),
    version: Number(version),
    isRewrite: type !== 'created',
    at: head.length - message.length,
  }
}

export function isRewrite(change: LoggedChange): boolean {
  return messageStateOf(change)?.isRewrite === true
}

/** Newest first: the last edit or deletion of each message, by its seq. */
export type Rewrites = ReadonlyMap<number, LoggedChange>

/** Collects the last rewrite of each message; undefined where there is none. */
export function collectRewrites(changes: Iterable<LoggedChange>): Rewrites | undefined {
  let rewrites: Map<number, LoggedChange> | undefined
  for (const change of changes) {
    const state = messageStateOf(change)
    if (state?.isRewrite !== true) continue
    rewrites ??= new Map()
    const known = rewrites.get(state.target)
    if (known === undefined || known.seq < change.seq) rewrites.set(state.target, change)
  }
  return rewrites
}

/** The change with the state that its message has by the rewrite of it; the change itself where it has that already. */
export function rewritten(change: LoggedChange, rewrites: Rewrites): LoggedChange {
  const state = messageStateOf(change)
  const rewrite = state && rewrites.get(state.target)
  const newer = rewrite && messageStateOf(rewrite)
  if (state === undefined || rewrite === undefined || newer === undefined || newer.version <= state.version)
    return change
  return { ...change, json: change.json.slice(0, state.at) + rewrite.json.slice(newer.at) }
}

/**
 * Changes that are about to leave together, each with the state that its message has at their end. A removal among them ends
 * what may be shown before it: a later version is not for a user who was removed meanwhile (rule ACL1).
 */
export function withNewestState(changes: readonly LoggedChange[]): readonly LoggedChange[] {
  if (changes.length < 2 || !changes.some(isRewrite)) return changes
  const settled: LoggedChange[] = []
  let rewrites = new Map<number, LoggedChange>()
  for (let index = changes.length - 1; index >= 0; index--) {
    const change = changes[index] as LoggedChange
    settled.push(rewritten(change, rewrites))
    if (change.effect?.kind === 'left') rewrites = new Map()
    const state = messageStateOf(change)
    if (state?.isRewrite === true && !rewrites.has(state.target)) rewrites.set(state.target, change)
  }
  return settled.reverse()
}
