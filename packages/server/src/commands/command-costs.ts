/**
 * What each command costs its user, on every transport (rule LIM3). The table is complete by its type: a new command does not
 * compile before it says what it takes.
 *
 * A command first takes one from its budget, before its input is read: from `sends` whatever appends to a log, from `requests`
 * everything else. When the input is known it takes what that makes dearer, and nothing has been done by then. What only the
 * answer shows, its size, is charged afterwards: the user's next requests wait for it.
 */
import type { CommandInput, CommandName, CommandResult } from '@chorus/protocol'
import type { CommandContext } from './command.ts'

export interface CommandCost<Name extends CommandName> {
  /** `none`: limited by address and account (access/limits.ts), because there is no user yet. */
  readonly budget: 'sends' | 'requests' | 'none'
  /** Members that this adds to a conversation: a row of the log, a row of members and a page for each. */
  readonly members?: (input: CommandInput<Name>) => number
  /** Plain requests that this costs beyond the first. */
  readonly requests?: (input: CommandInput<Name>, context: CommandContext) => number
  /** The answer may be large: it is charged by its size. */
  readonly answer?: (result: CommandResult<Name>) => unknown
}

type CommandCosts = { readonly [Name in CommandName]: CommandCost<Name> }

export const costBounds = {
  /** Characters of an answer that cost one request. */
  answerCharsPerRequest: 32_768,
  /** Characters of a live value that cost one request: each is kept, published and told to everyone who looks. */
  liveCharsPerRequest: 256,
  /** People newly watched that cost one request: each may be a subscription and a question in Redis. */
  watchedPerRequest: 4,
} as const

/** A search reads as many rows as begin with what is asked for. */
const search = (): number => 4
/** A row or two written, and what goes to the user's other devices. */
const smallWrite = (): number => 2
/** A row that many people's pages show, or a mail. */
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
  'list-sessions': { budget: 'requests', answer: (result) => result },
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
