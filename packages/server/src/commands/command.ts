/**
 * Types for a command: its cost and its handler. Each command has one file, used for both Socket.IO
 * and REST, so both decide by the same code (rule ACL3).
 */
import type { CommandInput, CommandName, CommandResult, Id } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import type { ApiKey } from '../keys/key-store.ts'
import type { Parts } from './parts.ts'

/** The user who runs a command, and the session of the user's device. */
export interface Actor {
  readonly userId: Id
  /** Empty for an API key, which has no session. */
  readonly sessionId: Id
}

/** The session cookie of an HTTP request. Only HTTP requests can set and clear it. */
export interface CookieJar {
  /** Begins a session for this user under a new id and sets the cookie. */
  signIn(userId: Id): Promise<Actor>
  /** Clears the session cookie. The command itself revokes the session. */
  signOut(): Promise<void>
}

export interface CommandContext {
  readonly parts: Parts
  /**
   * User and session of the caller. Always set for commands with `auth: 'session'`: other callers
   * are refused before the handler runs.
   */
  readonly actor: Actor
  /** Connection that sent the command; absent over plain HTTP. */
  readonly connection?: Connection
  /** Session cookie of the request; absent over Socket.IO. */
  readonly cookies?: CookieJar
  /** Network address of the client, for the rate limits. */
  readonly address: string
  /** User agent of the client, at most 256 characters. */
  readonly userAgent: string | null
  /**
   * API key of the request; absent for requests of users. The actor is then the user of `Chorus-As`,
   * or the bot of the key. Always set for commands with `auth: 'key'`.
   */
  readonly key?: ApiKey
}

export type CommandHandler<Name extends CommandName> = (
  context: CommandContext,
  input: CommandInput<Name>,
) => Promise<CommandResult<Name>>

/**
 * Cost of a command for its user, on every transport (rule LIM3).
 *
 * Before its input is parsed, a command takes one token from its budget. Commands that append to a
 * log take from `sends`, all others from `requests`. After parsing, the command takes what the
 * input costs beyond that; nothing has been changed by then. The size of the result is known only
 * at the end. It is charged then, and the user's next requests wait for it.
 */
export interface CommandCost<Name extends CommandName> {
  /**
   * Budget that the command takes from. `key`: only API keys can send the command. `none`: the
   * command has no user yet, so it is limited by address and account (auth/limits.ts).
   *
   * A request with an API key takes all its costs from the limit of the key, whatever the budget.
   */
  readonly budget: 'sends' | 'requests' | 'key' | 'none'
  /**
   * Number of members that the command adds to a conversation. Each costs a row of the log, a row
   * of members and a page.
   */
  readonly members?: (input: CommandInput<Name>) => number
  /** Number of requests that the command costs beyond the first. */
  readonly requests?: (input: CommandInput<Name>, context: CommandContext) => number
  /** Part of the result that is charged by its size, for commands whose result may be large. */
  readonly answer?: (result: CommandResult<Name>) => unknown
}

/** Handlers of all commands, by the command's name. */
export type CommandHandlers = { readonly [Name in CommandName]: CommandHandler<Name> }

export interface Command<Name extends CommandName> {
  readonly cost: CommandCost<Name>
  readonly run: CommandHandler<Name>
}

export type CommandTable = { readonly [Name in CommandName]: Command<Name> }
