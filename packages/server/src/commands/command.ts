/**
 * What a command is given and what it must answer. One verb, one file; the same table serves Socket.IO and REST
 * (rule ACL3: both decide by the same code).
 */
import type { CommandInput, CommandName, CommandResult, Id } from '@chorus/protocol'
import type { Connection } from '../fanout/connection.ts'
import type { Parts } from './parts.ts'

/** Who asks: a user on a signed-in device. */
export interface Actor {
  readonly userId: Id
  readonly sessionId: Id
}

/** What only an HTTP request can do: change which session its cookie names. */
export interface CookieJar {
  /** Begins a session for this user under a new id and sets the cookie. */
  signIn(userId: Id): Promise<Actor>
  /** Clears the cookie. The session itself is revoked by the command. */
  signOut(): Promise<void>
}

export interface CommandContext {
  readonly parts: Parts
  /** Of commands with `auth: 'session'` always there; dispatch refuses before the handler runs. */
  readonly actor: Actor
  /** The asking connection; absent over plain HTTP. */
  readonly connection?: Connection
  /** Absent over Socket.IO. */
  readonly cookies?: CookieJar
  /** Network address of the asker, for limits. */
  readonly address: string
  /** Of the asker, at most 256 characters. */
  readonly userAgent: string | null
}

export type CommandHandler<Name extends CommandName> = (
  context: CommandContext,
  input: CommandInput<Name>,
) => Promise<CommandResult<Name>>

export type CommandTable = { readonly [Name in CommandName]: CommandHandler<Name> }
