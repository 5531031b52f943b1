/**
 * Takes the cost of a command (commands/command.ts) from the rate limits of its user or API key. This file
 * alone decides the cost, for Socket.IO and HTTP alike. A plain message costs one token and nothing
 * more.
 */
import type { CommandInput, CommandName, CommandResult, Id } from '@chorus/protocol'
import type { Limits } from '../auth/limits.ts'
import type { CommandContext, CommandCost } from '../commands/command.ts'
import { costUnits } from '../commands/command-cost.ts'
import { commandTable } from './command-table.ts'

/**
 * Takes one token from the budget of the command. Called before the input is parsed, so that a user
 * over the limit causes no parsing. The limit of an API key is taken by `takeKeyRequest`.
 */
export function takeBudget(limits: Limits, name: CommandName, user: Id): void {
  const { budget } = commandTable[name].cost
  switch (budget) {
    case 'sends':
      limits.takeSend(user)
      return
    case 'requests':
      limits.takeRequest(user)
      return
    case 'key':
    case 'none':
      return
  }
}

/**
 * Takes the further cost that depends on the input. Called before the command begins, so a refusal
 * means that nothing was changed.
 */
export function takeWeight<Name extends CommandName>(
  cost: CommandCost<Name>,
  context: CommandContext,
  input: CommandInput<Name>,
): void {
  const { limits } = context.parts
  const { userId } = context.actor
  const requests = cost.requests?.(input, context) ?? 0
  if (context.key !== undefined) {
    const weight = requests + (cost.members?.(input) ?? 0)
    if (weight > 0) limits.takeKeyRequest(context.key.id, weight)
    return
  }
  if (requests > 0) limits.takeRequest(userId, requests)
  if (cost.members !== undefined) limits.takeMembers(userId, cost.members(input))
}

/**
 * Charges the size of the result, for commands whose result may be large. Called after the command
 * ran.
 */
export function chargeAnswer<Name extends CommandName>(
  cost: CommandCost<Name>,
  context: CommandContext,
  result: CommandResult<Name>,
): void {
  if (cost.answer === undefined) return
  const requests = Math.floor(countChars(cost.answer(result)) / costUnits.answerCharsPerRequest)
  if (requests === 0) return
  const { limits } = context.parts
  if (context.key === undefined) limits.chargeRequest(context.actor.userId, requests)
  else limits.chargeKeyRequest(context.key.id, requests)
}

/** Returns true if the command can cost more than one token of its budget. */
export function isWeighed({ members, requests, answer }: CommandCost<never>): boolean {
  return members !== undefined || requests !== undefined || answer !== undefined
}

/**
 * Returns the approximate length of the value as JSON, without building that text. The recursion is
 * bounded, because the depth of a result is (limits.jsonMaxDepth).
 */
function countChars(value: unknown): number {
  if (typeof value === 'string') return value.length + 2
  if (typeof value !== 'object' || value === null) return 6
  let chars = 2
  if (Array.isArray(value)) for (const item of value) chars += countChars(item) + 1
  else for (const [key, field] of Object.entries(value)) chars += key.length + 4 + countChars(field)
  return chars
}
