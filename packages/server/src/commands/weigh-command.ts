/**
 * Takes from a user's limits what a command costs (command-costs.ts): the one place that decides, for Socket.IO and HTTP
 * alike. A plain message takes one token and nothing else.
 */
import type { CommandInput, CommandName, CommandResult, Id } from '@chorus/protocol'
import type { Limits } from '../access/limits.ts'
import type { CommandContext } from './command.ts'
import { type CommandCost, commandCosts, costBounds } from './command-costs.ts'

/** Called before the input is read, so that a user over the limit costs no parsing. */
export function takeBudget(limits: Limits, name: CommandName, user: Id): void {
  const { budget } = commandCosts[name]
  switch (budget) {
    case 'sends':
      limits.takeSend(user)
      return
    case 'requests':
      limits.takeRequest(user)
      return
    case 'none':
      return
  }
}

/** Called with the input, before the command begins: what is refused here has changed nothing. */
export function takeWeight<Name extends CommandName>(
  name: Name,
  context: CommandContext,
  input: CommandInput<Name>,
): void {
  const cost: CommandCost<Name> = commandCosts[name]
  const { limits } = context.parts
  const { userId } = context.actor
  const requests = cost.requests?.(input, context) ?? 0
  if (requests > 0) limits.takeRequest(userId, requests)
  if (cost.members !== undefined) limits.takeMembers(userId, cost.members(input))
}

/** Called with the answer of a command whose size is charged. */
export function chargeAnswer<Name extends CommandName>(
  name: Name,
  context: CommandContext,
  result: CommandResult<Name>,
): void {
  const cost: CommandCost<Name> = commandCosts[name]
  if (cost.answer === undefined) return
  const requests = Math.floor(countChars(cost.answer(result)) / costBounds.answerCharsPerRequest)
  if (requests > 0) context.parts.limits.chargeRequest(context.actor.userId, requests)
}

/** Does this command cost more than its budget's one? */
export function isWeighed(name: CommandName): boolean {
  const { members, requests, answer }: CommandCost<never> = commandCosts[name]
  return members !== undefined || requests !== undefined || answer !== undefined
}

/** About as many characters as its JSON has, without building that. An answer's depth is bounded (limits.jsonMaxDepth). */
function countChars(value: unknown): number {
  if (typeof value === 'string') return value.length + 2
  if (typeof value !== 'object' || value === null) return 6
  let chars = 2
  if (Array.isArray(value)) for (const item of value) chars += countChars(item) + 1
  else for (const [key, field] of Object.entries(value)) chars += key.length + 4 + countChars(field)
  return chars
}
