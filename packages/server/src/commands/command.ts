/**
 * The input and result types of a command handler. Each verb has one file; the same table serves
 * Socket.IO and REST (rule ACL3: both decide by the same code).
 */
import type { CommandInput, CommandName, CommandResult, Id } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import type { Parts } from './parts.ts'

/** The user who runs a command, and the session of their device. */
export interface Actor {
  readonly userId: Id
  readonly sessionId: Id
}

/** The session cookie of an HTTP request. Only HTTP can change which session the cookie names. */
export interface CookieJar {
  /** Begins a session for this user under a new id and sets the cookie. */
  signIn(userId: Id): Promise<Actor>
  /** Clears the cookie. The session itself is revoked by the command. */
  signOut(): Promise<void>
}

export interface CommandContext {
  readonly parts: Parts
  /**
   * Always set for commands with `auth: 'session'`: dispatch refuses other callers before the
   * handler runs.
   */
  readonly actor: Actor
  /** Connection that sent the command; absent over plain HTTP. */
  readonly connection?: Connection
  /** Session cookie of the request; absent over Socket.IO. */
  readonly cookies?: CookieJar
  /** Network address of the client, for limits. */
  readonly address: string
  /** User agent of the client, at most 256 characters. */
  readonly userAgent: string | null
}

export type CommandHandler<Name extends CommandName> = (
  context: CommandContext,
  input: CommandInput<Name>,
) => Promise<CommandResult<Name>>

export type CommandTable = { readonly [Name in CommandName]: CommandHandler<Name> }
