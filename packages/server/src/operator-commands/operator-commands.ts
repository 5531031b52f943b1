/** The operator commands by name. */
import type { OperatorCommand } from './operator-command.ts'
import { webhooksCommand } from './webhooks.ts'

export type OperatorCommandName = 'webhooks'

export const operatorCommands: { readonly [Name in OperatorCommandName]: OperatorCommand } = {
  webhooks: webhooksCommand,
}
