/**
 * Typed client of the server API, for a back end that has an API key.
 *
 * Guarantee: every call may be repeated without a second effect (see `send-request.ts`), and every
 * failure but misuse is a `ChorusApiError`.
 */
import { randomUUID } from 'node:crypto'
import type { CommandRequest, CommandResult, MessagePage } from '@chorus/protocol'
import type {
  ApiConversation,
  ApiMessage,
  ApiMessageContent,
  ApiUser,
  Card,
  CardUpdate,
  Subject,
  SubjectConversation,
  UserEntry,
  UserPage,
  UserProfile,
  UserResult,
} from '../model/objects.ts'
import { toCommandTarget, toPathSegment, type UserCommand } from './command-path.ts'
import {
  type ApiRequest,
  type ApiResponse,
  type CallOptions,
  requestBounds,
  type RequestTarget,
  sendRequest,
} from './send-request.ts'

/** Maximum number of users in one call of `users.putMany`. */
const bulkMaxUsers = 1_000

export interface ChorusClientOptions {
  /** Address of the Chorus server, with its path if it has one: `https://chat.example.org`. */
  readonly url: string
  /** Secret of an API key: `sk_…`, printed by `npm run keys -- create`. */
  readonly secret: string
  /** Time for each attempt of a call, the response included. Default: 10 s. */
  readonly timeoutMs?: number
  /** Attempts for each call, the first included. Default: 5. */
  readonly attemptsMax?: number
  /** Replacement of the platform's `fetch`. */
  readonly fetch?: typeof fetch
}

export interface UsersApi {
  /** Creates or updates the user with this external id. `created` is true for a new user. */
  put(externalId: string, profile: UserProfile, options?: CallOptions): Promise<{ user: ApiUser; created: boolean }>
  /** Creates or updates at most 1 000 users. A refused user does not affect the others. */
  putMany(users: readonly UserEntry[], options?: CallOptions): Promise<readonly UserResult[]>
  /** `user.erasing` is true while an erasure of this user runs. */
  get(externalId: string, options?: CallOptions): Promise<{ user: ApiUser }>
  list(page?: { readonly limit?: number; readonly page?: string }, options?: CallOptions): Promise<UserPage>
  /** Starts the erasure of all data of the user. `get` reports `erasing` until it is done. */
  erase(externalId: string, options?: CallOptions): Promise<void>
  /** Refuses all tokens that were issued for the user until now, and ends their sessions. */
  revokeTokens(externalId: string, options?: CallOptions): Promise<void>
}

export interface SubjectsApi {
  /** Returns the conversation about a subject and adds missing members. Creates it if there is none. */
  putConversation(
    subject: Subject,
    conversation: SubjectConversation,
    options?: CallOptions,
  ): Promise<{ conversation: ApiConversation; created: boolean }>
  /** Returns the conversation about a subject. Rejects with `not-found` if there is none. */
  getConversation(subject: Subject, options?: CallOptions): Promise<{ conversation: ApiConversation }>
}

export interface HistoryQuery {
  readonly before?: number
  readonly after?: number
  readonly around?: number
  readonly limit?: number
}

export interface MessagesApi {
  /** Sends a message as the key's bot, or as the user `as`. `duplicate`: it was stored before. */
  send(
    conversation: string,
    content: ApiMessageContent,
    options?: CallOptions,
  ): Promise<{ message: ApiMessage; duplicate: boolean }>
  /** Returns a page of history. The key's bot must be a member; use `as(user)` otherwise. */
  list(conversation: string, query?: HistoryQuery, options?: CallOptions): Promise<MessagePage>
  /** Gives a card its next version. Fails with `stale` if the card has changed since `version`. */
  updateCard(
    conversation: string,
    seq: number,
    update: CardUpdate,
    options?: CallOptions,
  ): Promise<{ seq: number; card: Card }>
}

export interface CardAct {
  /** Version of the card that the user saw. */
  readonly version: number
  /** Id of one of its actions. */
  readonly action: string
  /** UUID of the act, for a retry of your own. */
  readonly clientId?: string
}

/** Commands that the key sends as one user. */
export interface UserApi {
  /** Sends any ordinary command as the user, with the names and inputs of the wire protocol. */
  call<Name extends UserCommand>(
    name: Name,
    request: CommandRequest<Name>,
    options?: CallOptions,
  ): Promise<CommandResult<Name>>
  /** Acts on a card as the user. Fails with `stale` after an act of another member. */
  act(conversation: string, seq: number, act: CardAct, options?: CallOptions): Promise<{ seq: number }>
}

export interface ChorusClient {
  readonly users: UsersApi
  readonly subjects: SubjectsApi
  readonly messages: MessagesApi
  /** Sends any ordinary command as the bot user of the key. */
  call: UserApi['call']
  /** Returns the commands of the user with this external id. The key needs the scope `write`. */
  as(externalId: string): UserApi
}

/** Creates the client. Sends nothing yet. */
export function createChorusClient(options: ChorusClientOptions): ChorusClient {
  const target: RequestTarget = {
    baseUrl: parseUrl(options.url),
    secret: checkSecret(options.secret),
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    timeoutMs: options.timeoutMs ?? requestBounds.timeoutMs,
    attemptsMax: options.attemptsMax ?? requestBounds.attemptsMax,
  }
  const send: Send = (request, callOptions) => sendRequest(target, request, callOptions)
  const { call } = createUserApi(send, undefined)
  return {
    users: createUsersApi(send),
    subjects: createSubjectsApi(send),
    messages: createMessagesApi(send, call),
    call,
    as: (externalId) => createUserApi(send, externalId),
  }
}

type Send = (request: ApiRequest, options?: CallOptions) => Promise<ApiResponse>

function createUsersApi(send: Send): UsersApi {
  const users = '/v1/admin/users'
  const pathOf = (externalId: string): string => `${users}/${toPathSegment(externalId)}`
  return {
    async put(externalId, profile, options) {
      const request = { doing: 'put user', method: 'PUT', path: pathOf(externalId), body: profile } as const
      const { status, body } = await send(request, options)
      return { user: (body as { user: ApiUser }).user, created: status === 201 }
    },
    async putMany(entries, options) {
      if (entries.length > bulkMaxUsers)
        throw new TypeError(`unable to put users; one call takes at most ${bulkMaxUsers}`)
      const request = { doing: 'put users', method: 'POST', path: users, body: { users: entries } } as const
      return ((await send(request, options)).body as { results: readonly UserResult[] }).results
    },
    async get(externalId, options) {
      const { body } = await send({ doing: 'get user', method: 'GET', path: pathOf(externalId) }, options)
      return body as { user: ApiUser }
    },
    async list(page = {}, options) {
      const path = `${users}${toQuery({ ...page })}`
      return (await send({ doing: 'list users', method: 'GET', path }, options)).body as UserPage
    },
    async erase(externalId, options) {
      await send({ doing: 'erase user', method: 'DELETE', path: pathOf(externalId) }, options)
    },
    async revokeTokens(externalId, options) {
      const path = `${pathOf(externalId)}/revoke-tokens`
      await send({ doing: 'revoke tokens', method: 'POST', path }, options)
    },
  }
}

function createSubjectsApi(send: Send): SubjectsApi {
  const pathOf = ({ type, id }: Subject): string =>
    `/v1/admin/subjects/${toPathSegment(type)}/${toPathSegment(id)}/conversation`
  return {
    async putConversation(subject, conversation, options) {
      const request = {
        doing: 'put conversation of subject',
        method: 'PUT',
        path: pathOf(subject),
        body: conversation,
      } as const
      const { status, body } = await send(request, options)
      return { ...(body as { conversation: ApiConversation }), created: status === 201 }
    },
    async getConversation(subject, options) {
      const request = { doing: 'get conversation of subject', method: 'GET', path: pathOf(subject) } as const
      return (await send(request, options)).body as { conversation: ApiConversation }
    },
  }
}

function createMessagesApi(send: Send, call: UserApi['call']): MessagesApi {
  return {
    async send(conversation, { clientId = randomUUID(), ...content }, options) {
      const request = {
        doing: 'send message',
        method: 'POST',
        path: `/v1/admin/conversations/${toPathSegment(conversation)}/messages`,
        body: { clientId, ...content },
        hasClientId: true,
      } as const
      const { status, body } = await send(request, options)
      return { ...(body as { message: ApiMessage }), duplicate: status === 200 }
    },
    list: (conversation, query = {}, options) => call('list-messages', { conversation, ...query }, options),
    async updateCard(conversation, seq, update, options) {
      const path = `/v1/admin/conversations/${toPathSegment(conversation)}/messages/${toPathSegment(String(seq))}/card`
      const { body } = await send({ doing: 'update card', method: 'PATCH', path, body: update }, options)
      return body as { seq: number; card: Card }
    },
  }
}

function createUserApi(send: Send, as: string | undefined): UserApi {
  return {
    call: async <Name extends UserCommand>(name: Name, request: CommandRequest<Name>, options?: CallOptions) => {
      const { method, path, body } = toCommandTarget(name, request)
      const hasClientId = typeof request === 'object' && 'clientId' in request && request.clientId !== undefined
      const response = await send({ doing: name, method, path, body, as, hasClientId }, options)
      // The server's responses follow the schema of the command.
      return (response.body ?? null) as CommandResult<Name>
    },
    async act(conversation, seq, { clientId = randomUUID(), version, action }, options) {
      const request = {
        doing: 'act on card',
        method: 'POST',
        path: `/v1/conversations/${toPathSegment(conversation)}/messages/${toPathSegment(String(seq))}/actions`,
        body: { clientId, version, action },
        as,
        hasClientId: true,
      } as const
      return (await send(request, options)).body as { seq: number }
    },
  }
}

function toQuery(fields: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) query.set(name, String(value))
  return query.size === 0 ? '' : `?${query.toString()}`
}

function parseUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const isPlain = parsed?.search === '' && parsed.hash === '' && parsed.username === '' && parsed.password === ''
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || !isPlain) {
    throw new TypeError(
      'unable to create client; url must be an http or https address without a query, a fragment and credentials',
    )
  }
  return parsed.origin + parsed.pathname.replace(/\/+$/, '')
}

/** Checks the form only, and never shows the secret: the text of an error ends up in logs. */
function checkSecret(secret: string): string {
  if (typeof secret !== 'string' || !/^sk_[!-~]{16,256}$/.test(secret))
    throw new TypeError('unable to create client; secret must be the secret of an API key, which begins with sk_')
  return secret
}
