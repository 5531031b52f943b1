/**
 * Asks the pre-send hook about a message or an edit before it is stored (rules HOOK1 to HOOK3).
 *
 * Without a hook, and for a key that acts as its own bot, the message is stored at once. Otherwise,
 * in the sender's order: one read shows whether the sender is a member and whether the request is
 * stored already, then the hook is asked, then the message joins the queue of the log. No lock or
 * connection is held while the hook answers. If there is nothing to ask about, the log decides
 * alone, with the same answer as without a hook.
 */
import type { HookQuestion, Id, Json } from '@chorus/protocol'
import { type PreSendHook, refuseReplacement } from '../../hook/pre-send-hook.ts'
import type { SendRow } from '../../log/append-statement.ts'
import type { HookFacts } from '../../log/read-hook-facts.ts'
import { hashValue } from '../../log/same-request.ts'
import type { CommandContext } from '../command.ts'

/** A new message before the check. `hash` differs if another request has the same `clientId`. */
export interface UncheckedSend {
  readonly conversation: Id
  readonly actor: Id
  readonly clientId: Id
  readonly text: string
  readonly data: Json
  /** True if the message has more content than text and data. */
  readonly mayBeEmpty: boolean
  readonly hash: string
}

type Content = Pick<SendRow, 'text' | 'data'>

/** Stores a message with its own text, or with the replacement of the hook. */
export async function checkSend<Result extends { readonly duplicate?: true }>(
  context: CommandContext,
  send: UncheckedSend,
  store: (content: Content) => Promise<Result>,
): Promise<Result> {
  const hook = hookOf(context, send.actor)
  if (hook === undefined) return store(send)
  const { conversation, actor, clientId, text, data, mayBeEmpty, hash } = send
  const what = 'send the message'
  const key = `${actor}/${conversation}`
  const check = async (): Promise<Content> => {
    const facts = await context.parts.hookFacts.ask({ user: actor, conversation, clientId, target: null })
    if (facts === null || facts.isStored) return send
    const answer = await hook.ask(toQuestion(send, 'send', facts), what)
    if (answer.action === 'allow') return send
    const content = { text: answer.text ?? text, data: answer.data === undefined ? data : answer.data }
    if (content.text === '' && content.data === null && !mayBeEmpty) throw refuseReplacement(what)
    return content
  }
  return hook.share(`${key}/${clientId}/${hash}`, () => hook.queues.run(key, what, check, store))
}

interface UncheckedEdit {
  readonly conversation: Id
  readonly actor: Id
  readonly target: number
  readonly text: string
}

/** Stores an edit with its own text, or with the replacement of the hook. */
export async function checkEdit<Result>(
  context: CommandContext,
  edit: UncheckedEdit,
  store: (text: string) => Promise<Result>,
): Promise<Result> {
  const hook = hookOf(context, edit.actor)
  const { conversation, actor, target, text } = edit
  if (hook === undefined) return store(text)
  const what = 'edit the message'
  const check = async (): Promise<string> => {
    const facts = await context.parts.hookFacts.ask({ user: actor, conversation, clientId: null, target })
    const message = facts?.message ?? null
    if (facts === null || message === null || message.text === text) return text
    const { clientId, data } = message
    const answer = await hook.ask(toQuestion({ conversation, actor, clientId, text, data }, 'edit', facts), what)
    if (answer.action === 'allow') return text
    // An edit never changes `data`, and it never empties a message.
    if (answer.text === '') throw refuseReplacement(what)
    return answer.text ?? text
  }
  return hook.queues.run(`${actor}/${conversation}`, what, check, store)
}

/** Returns a hash of what makes a send another request (rule IDEM1). */
export function hashOfSend({ text, replyTo, data }: Pick<SendRow, 'text' | 'replyTo' | 'data'>): string {
  return hashValue({ text, replyTo, data })
}

/**
 * Returns the hook that must be asked. The integrator's back end is not asked about what it writes
 * itself, as the bot of its key.
 */
function hookOf({ parts, key }: CommandContext, actor: Id): PreSendHook | undefined {
  return key?.botUser === actor ? undefined : parts.hook
}

function toQuestion(
  { conversation, actor, clientId, text, data }: Omit<UncheckedSend, 'hash' | 'mayBeEmpty'>,
  kind: HookQuestion['kind'],
  { subject, externalId }: HookFacts,
): HookQuestion {
  return { kind, conversation, subject, sender: { id: actor, externalId }, clientId, text, data }
}
