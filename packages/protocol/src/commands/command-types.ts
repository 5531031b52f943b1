/** Input and output types of every command, derived from the command definitions. */
import type * as z from 'zod'
import type { commands } from './commands.ts'

export type Commands = typeof commands
export type CommandName = keyof Commands
/** Names of the commands that only API keys can send. */
export type KeyCommandName = {
  [Name in CommandName]: Commands[Name] extends { readonly auth: 'key' } ? Name : never
}[CommandName]
/** Names of the commands that users can send. */
export type UserCommandName = Exclude<CommandName, KeyCommandName>
/** Input of a command's handler: parsed, with defaults filled in. */
export type CommandInput<Name extends CommandName> = z.output<Commands[Name]['input']>
/** Input as a caller writes it: fields with defaults may be left out. */
export type CommandRequest<Name extends CommandName> = z.input<Commands[Name]['input']>
export type CommandResult<Name extends CommandName> = z.output<Commands[Name]['result']>

/** Names of the commands that have a Socket.IO event. */
export type EventCommandName = {
  [Name in CommandName]: Commands[Name] extends {
    readonly event?: { readonly toAck: (result: never) => infer Ack } | undefined
  }
    ? [Ack] extends [never]
      ? never
      : Name
    : never
}[CommandName]

export type CommandAck<Name extends EventCommandName> =
  NonNullable<Commands[Name]['event']> extends {
    readonly toAck: (result: never) => infer Ack
  }
    ? Ack
    : never
