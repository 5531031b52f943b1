/**
 * Processes a packet up to its acknowledgement: rate limits, then JSON and schema, then the handler
 * of the command. A packet above a rate limit is not parsed. Only this code catches the errors of
 * handlers: each becomes an error of the protocol, and its cause goes to the log.
 */
import { ChorusError, commands, type CommandName } from '@chorus/protocol'
import type { CommandContext, CommandHandler, CommandHandlers } from '../commands/command.ts'
import { parseInput } from '../dispatch/parse-input.ts'
import { toChorusError } from '../dispatch/to-chorus-error.ts'
import { takeBudget } from '../dispatch/weigh-command.ts'
import { readPayload } from './event-packet.ts'

interface SocketEvent {
  readonly name: CommandName
  readonly handler: CommandHandler<CommandName>
  readonly toAck: (result: unknown) => object
}

/** Content of a packet that requests something from the server. */
export type SocketRequest =
  | { readonly kind: 'event'; readonly name: string | undefined; readonly json: string }
  /** Event with binary attachments, which the protocol does not allow. */
  | { readonly kind: 'binary' }

export type Dispatch = (context: CommandContext, request: SocketRequest) => Promise<object>

/**
 * Returns a function that runs the command of a packet. Its promise always resolves, with the
 * content of the acknowledgement.
 */
export function createDispatch(handlers: CommandHandlers): Dispatch {
  const events = new Map<string, SocketEvent>()
  for (const command of Object.values(commands)) {
    if (!('event' in command)) continue
    events.set(command.event.name, {
      name: command.name,
      handler: handlers[command.name],
      toAck: command.event.toAck as (result: unknown) => object,
    })
  }
  return async (context, request) => {
    const { parts, actor } = context
    const found = request.kind === 'event' && request.name !== undefined ? events.get(request.name) : undefined
    const startedAtMs = performance.now()
    try {
      if (found === undefined) parts.limits.takeRequest(actor.userId)
      else takeBudget(parts.limits, found.name, actor.userId)
      if (request.kind === 'binary')
        throw new ChorusError('invalid', 'unable to answer; binary data is not accepted, send it as text')
      if (found === undefined) throw new ChorusError('invalid', 'unable to answer; there is no such event')
      parts.limits.takeBytes(actor.userId, request.json.length)
      const result = await found.handler(context, parseInput(found.name, readPayload(request.json)))
      return { ok: true, ...found.toAck(result) }
    } catch (error) {
      return { ok: false, error: toPublicError(context, found?.name, error).toBody() }
    } finally {
      if (found?.name === 'send-message') parts.metrics.ackSeconds.observe((performance.now() - startedAtMs) / 1_000)
    }
  }
}

function toPublicError({ parts, actor }: CommandContext, name: CommandName | undefined, error: unknown): ChorusError {
  const report = (unexpected: unknown): void =>
    parts.logger.error({ err: unexpected, command: name, user: actor.userId }, 'a command failed')
  const known = toChorusError(error, name !== undefined && changesSomething(name), report)
  if (known.cause !== undefined)
    parts.logger.warn({ err: known.cause, command: name, user: actor.userId }, known.message)
  return known
}

/**
 * Returns false for commands that only read. If such a command fails, the answer is `unavailable`,
 * never `unknown`.
 */
function changesSomething(name: CommandName): boolean {
  return name !== 'sync' && name !== 'watch-presence'
}
