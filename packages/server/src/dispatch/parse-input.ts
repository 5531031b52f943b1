/**
 * Checks the input of a command once, against the schema of the command, and returns it typed.
 * Input that is too long or has too many items is refused as `too-large`; any other mismatch is
 * `invalid`. No error repeats the refused value.
 */
import { ChorusError, commands } from '@chorus/protocol'
import type { CommandInput, CommandName } from '@chorus/protocol'
import type { ZodType } from 'zod'

interface Issue {
  readonly code?: string | undefined
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly origin?: unknown
}

const issueMessageMaxChars = 200

/**
 * Returns the name of a command as a verb that completes "unable to …": `send-message` gives "send
 * message".
 */
export function verbOf(name: CommandName): string {
  return name.replaceAll('-', ' ')
}

export function parseInput<Name extends CommandName>(name: Name, value: unknown): CommandInput<Name> {
  // Typed as any schema: the union of all input schemas exceeds the compiler's instantiation limit.
  const schema = commands[name].input as unknown as ZodType
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data as CommandInput<Name>
  const issues: readonly Issue[] = parsed.error.issues
  const code = issues.every(isOverLimit) ? 'too-large' : 'invalid'
  throw new ChorusError(code, `unable to ${verbOf(name)}; ${describeIssue(issues[0])}`)
}

function isOverLimit({ code, origin, message }: Issue): boolean {
  if (code === 'too_big') return origin === 'string' || origin === 'array'
  return code === 'custom' && /^is more than \d+ bytes/.test(message)
}

function describeIssue(issue: Issue | undefined): string {
  if (issue === undefined) return 'the input does not match its schema'
  const place = issue.path.length === 0 ? 'the input' : issue.path.map(String).join('.')
  return `${place}: ${issue.message}`.slice(0, issueMessageMaxChars)
}
