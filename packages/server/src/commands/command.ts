/**
 * The types of a command: its cost and its handler. Each verb has one file; the same table serves
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

/**
 * Cost of a command for its user, on every transport (rule LIM3).
 *
 * A command first takes one from its budget, before its input is parsed. Commands that append to a
 * log take from `sends`, all others from `requests`. After parsing, it takes what the input costs
 * beyond that; nothing has been done by then. Only the result shows its own size, so that is
 * charged afterwards, and the user's next requests wait for it.
 */
export interface CommandCost<Name extends CommandName> {
  /**
   * Budget to take from. `none`: the command is limited by address and account (auth/limits.ts),
   * because there is no user yet.
   */
  readonly budget: 'sends' | 'requests' | 'none'
  /**
   * Number of members that the command adds. Each costs a row of the log, a row of members and a
   * page.
   */
  readonly members?: (input: CommandInput<Name>) => number
  /** Number of requests that the command costs beyond the first. */
  readonly requests?: (input: CommandInput<Name>, context: CommandContext) => number
  /** Part of the result that is charged by its size, for commands whose result may be large. */
  readonly answer?: (result: CommandResult<Name>) => unknown
}

/** Handlers of all commands, as the transports call them. */
export type CommandHandlers = { readonly [Name in CommandName]: CommandHandler<Name> }

export interface Command<Name extends CommandName> {
  readonly cost: CommandCost<Name>
  readonly run: CommandHandler<Name>
}

export type CommandTable = { readonly [Name in CommandName]: Command<Name> }
