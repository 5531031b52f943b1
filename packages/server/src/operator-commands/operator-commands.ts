/** The operator commands by name. */
import { keysCommand } from './keys.ts'
import type { OperatorCommand } from './operator-command.ts'
import { webhooksCommand } from './webhooks.ts'

export type OperatorCommandName = 'keys' | 'webhooks'

export const operatorCommands: { readonly [Name in OperatorCommandName]: OperatorCommand } = {
  keys: keysCommand,
  webhooks: webhooksCommand,
}
