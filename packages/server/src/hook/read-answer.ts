/** Reads the answer of the pre-send hook. The answer is external data, so a schema checks it. */
import { hookAnswerSchema, hookLimits, type Json, showsSomething, toOneLine } from '@chorus/protocol'
import { parseJsonText } from '../support/json-text.ts'
import { HookFailure } from './exchange.ts'

export type Verdict =
  | { readonly action: 'allow' }
  | { readonly action: 'replace'; readonly text?: string; readonly data?: Json }
  /** `reason`: one line to show to the sender. Undefined if the hook gave none. */
  | { readonly action: 'refuse'; readonly reason: string | undefined }
  /** The hook asked for a replacement that cannot be stored. The original must not be stored. */
  | { readonly action: 'bad-replacement' }

/** Returns the verdict. Throws {@link HookFailure} if the text is not an answer. */
export function readAnswer(text: string): Verdict {
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch (error) {
    throw new HookFailure('unusable', 'the answer is not JSON', error)
  }
  const { action, reason } = (answer ?? {}) as { readonly action?: unknown; readonly reason?: unknown }
  // A refusal counts whatever its reason looks like.
  if (action === 'refuse') return { action, reason: typeof reason === 'string' ? toReason(reason) : undefined }
  if (action === 'allow') return { action }
  if (action === 'replace') return readReplacement(text)
  throw new HookFailure('unusable', 'the answer has no known action')
}

/** Checks the replacement as strictly as a message of a client (rule BAD1). */
function readReplacement(json: string): Verdict {
  try {
    const answer = hookAnswerSchema.parse(parseJsonText(json))
    if (answer.action !== 'replace' || (answer.text === undefined && answer.data === undefined))
      return { action: 'bad-replacement' }
    const { text, data } = answer
    return { action: 'replace', ...(text !== undefined && { text }), ...(data !== undefined && { data }) }
  } catch {
    return { action: 'bad-replacement' }
  }
}

/** Returns the reason as one line of bounded length, or undefined if it shows nothing. */
function toReason(text: string): string | undefined {
  const line = toOneLine(text.slice(0, 4 * hookLimits.reasonMaxChars).toWellFormed())
    .replace(/\s+/g, ' ')
    .slice(0, hookLimits.reasonMaxChars)
    // The cut may have halved a character.
    .replace(/[\ud800-\udbff]$/, '')
  return showsSomething(line) ? line : undefined
}
