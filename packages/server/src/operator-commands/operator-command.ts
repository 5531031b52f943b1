/**
 * Types of an operator command, such as `npm run webhooks`: its arguments become an action on a
 * database. The arguments are checked first, so that wrong arguments open no database and change
 * nothing.
 */
import type { Database } from '../database/database.ts'
import { StartError } from '../support/start-error.ts'

/** Work of a command on the database. Resolves to the text for stdout. */
export type Action = (database: Database) => Promise<string>

export interface OperatorCommand {
  /** Parses the arguments. Throws a {@link UsageError} if they are wrong. */
  readonly readAction: (args: readonly string[]) => Action
  /**
   * Index of the argument that names a file whose text the command needs, if these arguments have
   * one. `-` is standard input.
   */
  readonly fileArgument?: (args: readonly string[]) => number | undefined
}

/** Error in the arguments, which ends the command with its message of one or several lines. */
export class UsageError extends StartError {}

/** Arguments of a command: plain arguments in order, and options by name. */
export interface Arguments {
  readonly plain: readonly string[]
  readonly options: ReadonlyMap<string, string>
}

/** Splits arguments into plain ones and options. `flags`: names of the options without a value. */
export function readArguments(args: readonly string[], flags: readonly string[]): Arguments {
  const plain: string[] = []
  const options = new Map<string, string>()
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? ''
    const name = argument.slice(2)
    // A key in PEM begins with dashes, too.
    if (!/^--[^-]/.test(argument)) plain.push(argument)
    else if (flags.includes(name)) options.set(name, '')
    else options.set(name, args[++index] ?? '')
  }
  return { plain, options }
}

/** Throws if the action does not know one of the options. */
export function checkOptions(
  what: string | undefined,
  options: ReadonlyMap<string, string>,
  known: { readonly [action: string]: readonly string[] },
): void {
  for (const name of options.keys())
    if (!(known[what ?? ''] ?? []).includes(name))
      throw new UsageError(`unable to ${what ?? 'start'}; --${name} is unknown`)
}

/** Returns lines of text for stdout, the last one with its line end. */
export function toLines(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`
}

/** Returns the only plain argument of an action. */
export function one(what: string, rest: readonly string[], expected: string): string {
  const [value] = rest
  if (value === undefined || rest.length > 1)
    throw new UsageError(`unable to ${what}; expected ${expected} and nothing more`)
  return value
}
