/**
 * The cost of each command for its user, on every transport (rule LIM3). The type makes the table
 * complete: a new command does not compile until it declares its cost.
 *
 * A command first takes one from its budget, before its input is parsed. Commands that append to a
 * log take from `sends`, all others from `requests`. After parsing, it takes what the input costs
 * beyond that; nothing has been done by then. Only the result shows its own size, so that is
 * charged afterwards, and the user's next requests wait for it.
 */
import type { CommandInput, CommandName, CommandResult } from '@chorus/protocol'
import type { CommandContext } from '../commands/command.ts'

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

type CommandCosts = { readonly [Name in CommandName]: CommandCost<Name> }

export const costBounds = {
  /** Number of result characters that cost one request. */
  answerCharsPerRequest: 32_768,
  /**
   * Number of live-value characters that cost one request: each value is kept, published and sent
   * to every viewer.
   */
  liveCharsPerRequest: 256,
  /**
   * Number of newly watched users that cost one request: each may be a subscription and a query in
   * Redis.
   */
  watchedPerRequest: 2,
} as const

/** Returns the cost of a search, which reads every row that begins with the search text. */
const search = (): number => 4
/** Returns the cost of a list that sorts all sessions of the user. */
const sessionList = (): number => 4
/** Returns the cost of one or two written rows and of events for the user's other devices. */
const smallWrite = (): number => 2
/** Returns the cost of a row that many users' pages show, or of a mail. */
const rareWrite = (): number => 9

export const commandCosts: CommandCosts = {
  'add-reaction': { budget: 'sends' },
  'confirm-email': { budget: 'none' },
  'create-conversation': { budget: 'sends', members: ({ members }) => members.length + 1 },
  'delete-message': { budget: 'sends' },
  'edit-message': { budget: 'sends' },
  'find-channels': { budget: 'requests', requests: search },
  'find-users': { budget: 'requests', requests: search },
  'get-conversation': { budget: 'requests' },
  'get-message': { budget: 'requests' },
  'get-notifications': { budget: 'requests' },
  'get-session': { budget: 'requests' },
  'get-session-data': { budget: 'requests' },
  'get-user': { budget: 'requests' },
  'list-changes': { budget: 'requests', answer: (result) => result },
  'list-conversations': { budget: 'requests', answer: (result) => result },
  'list-live-values': { budget: 'requests', answer: (result) => result },
  'list-members': { budget: 'requests', answer: (result) => result },
  'list-messages': { budget: 'requests', answer: (result) => result },
  'list-sessions': { budget: 'requests', requests: sessionList, answer: (result) => result },
  'mark-read': { budget: 'requests', requests: smallWrite },
  'put-member': { budget: 'sends', members: () => 1 },
  'remove-member': { budget: 'sends' },
  'remove-reaction': { budget: 'sends' },
  'revoke-session': { budget: 'requests', requests: smallWrite },
  'send-message': { budget: 'sends' },
  'set-live-value': {
    budget: 'requests',
    requests: ({ value }) => Math.floor(JSON.stringify(value).length / costBounds.liveCharsPerRequest),
  },
  'set-notifications': { budget: 'requests', requests: rareWrite },
  'set-status': { budget: 'requests', requests: smallWrite },
  'sign-in': { budget: 'none' },
  'sign-out': { budget: 'requests' },
  'sign-up': { budget: 'none' },
  sync: { budget: 'requests', answer: (result) => result },
  'update-conversation': { budget: 'sends' },
  'update-profile': { budget: 'requests', requests: rareWrite },
  'update-session-data': { budget: 'requests', requests: smallWrite },
  'watch-presence': {
    budget: 'requests',
    requests: ({ users }, { connection }) => {
      const added = users.filter((user) => connection?.watched.has(user) !== true).length
      return Math.ceil(added / costBounds.watchedPerRequest)
    },
  },
}
