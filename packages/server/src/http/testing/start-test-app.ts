/**
 * Starts the HTTP application with its real parts on a real database. Tests send requests with
 * `inject`, without a port. Commands of the change log are not included.
 */
import { ChorusError, commands } from '@chorus/protocol'
import type { CommandName } from '@chorus/protocol'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { Authenticator, cookieNameFor } from '../../auth/authenticator.ts'
import { Limits } from '../../auth/limits.ts'
import { Passwords } from '../../auth/passwords.ts'
import type { CommandHandler, CommandHandlers } from '../../commands/command.ts'
import type { Parts } from '../../commands/parts.ts'
import { commandTable } from '../../dispatch/command-table.ts'
import { readConfig } from '../../config/config.ts'
import type { Database } from '../../database/database.ts'
import { findSessions, touchSessions } from '../../accounts/sessions.ts'
import { KeyRegistry } from '../../keys/key-registry.ts'
import { readLiveKeys, touchKeys } from '../../keys/key-store.ts'
import { createLogger } from '../../support/logger.ts'
import { Metrics } from '../../support/metrics.ts'
import { ManualClock } from '../../support/testing/manual-clock.ts'
import { buildHttpApp } from '../app.ts'
import type { HttpAppOptions } from '../app.ts'
import type { Health } from '../operators.ts'

const identity: ReadonlySet<CommandName> = new Set([
  'delete-user',
  'find-users',
  'get-external-user',
  'get-session',
  'get-session-data',
  'get-user',
  'list-external-users',
  'list-sessions',
  'put-user',
  'put-users',
  'revoke-session',
  'revoke-tokens',
  'sign-in',
  'sign-out',
  'sign-up',
  'update-profile',
  'update-session-data',
])

const notWired: CommandHandler<CommandName> = async () => {
  throw new ChorusError('not-found', 'unable to answer; this command is not wired here')
}

export interface TestAppOptions {
  readonly environment?: Readonly<Record<string, string>>
  /** Handlers that replace the real ones. */
  readonly handlers?: Partial<CommandHandlers>
  readonly health?: () => Promise<Health>
  readonly webFolder?: string
  readonly extend?: HttpAppOptions['extend']
}

export interface TestApp {
  readonly app: FastifyInstance
  readonly parts: Parts
  readonly authenticator: Authenticator
  readonly metrics: Metrics
  readonly clock: ManualClock
  /** Ids of the sessions that were reported as revoked. */
  readonly revoked: string[]
  /** Lines written to the log. */
  readonly logLines: string[]
  /** Sends a request, with a JSON body if one is given. */
  ask(
    method: InjectOptions['method'],
    url: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<LightMyRequestResponse>
  /** Creates an account. Returns its id and the cookie header for its requests. */
  signUp(handle: string): Promise<{ readonly id: string; readonly cookie: string }>
  close(): Promise<void>
}

const unlimited = {
  LIMIT_SENDS: '0',
  LIMIT_REQUESTS: '0',
  LIMIT_KEY_REQUESTS: '0',
  LIMIT_SIGN_INS: '0',
  LIMIT_SIGN_INS_ADDRESS: '0',
  LIMIT_CONNECTIONS: '0',
}

/** Returns `name=value` of the session cookie that a response sets. */
export function cookieOf(response: LightMyRequestResponse): string {
  const cookie = response.cookies.find(({ name }) => name.endsWith('chorus_session'))
  return cookie === undefined ? '' : `${cookie.name}=${encodeURIComponent(cookie.value)}`
}

export async function startTestApp(database: Database, options: TestAppOptions = {}): Promise<TestApp> {
  const config = readConfig({ ...unlimited, ...options.environment })
  const clock = new ManualClock()
  const metrics = new Metrics()
  const revoked: string[] = []
  const logLines: string[] = []
  const [secret] = await database.query<{ value: string }>({
    text: `select value from settings where key = 'cookie-secret'`,
  })
  const authenticator = new Authenticator({
    records: { find: (hashes) => findSessions(database, hashes), touch: (ids) => touchSessions(database, ids) },
    cookieName: cookieNameFor(config.publicUrl),
    cookieSecret: secret!.value,
    clock,
    onProblem: () => undefined,
  })
  // The commands under test use only these parts of the server, so all other parts are missing.
  const parts = {
    config,
    database,
    passwords: await Passwords.create(),
    limits: new Limits(config, clock),
    keys: new KeyRegistry({
      load: () => readLiveKeys(database),
      touch: (ids) => touchKeys(database, ids),
      clock,
      onProblem: () => undefined,
    }),
    announceRevoked: (ids: readonly string[]) => void revoked.push(...ids),
  } as unknown as Parts
  const handlers = Object.fromEntries(
    (Object.keys(commands) as CommandName[]).map((name) => [
      name,
      options.handlers?.[name] ?? (identity.has(name) ? commandTable[name].run : notWired),
    ]),
  ) as unknown as CommandHandlers
  const app = await buildHttpApp({
    config,
    parts,
    handlers,
    authenticator,
    logger: createLogger('debug', 'test', { write: (line) => void logLines.push(line) }),
    metrics,
    health: options.health ?? (async () => ({ ready: true, degraded: [] })),
    webFolder: options.webFolder ?? '/nonexistent',
    ...(options.extend !== undefined && { extend: options.extend }),
  })

  const ask: TestApp['ask'] = (method, url, body, headers = {}) =>
    app.inject({
      method: method ?? 'GET',
      url,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
    })

  return {
    app,
    parts,
    authenticator,
    metrics,
    clock,
    revoked,
    logLines,
    ask,
    signUp: async (handle) => {
      const response = await ask('POST', '/v1/users', { handle, password: 'correct horse', name: handle })
      if (response.statusCode !== 201) throw new Error(`sign-up answered ${response.statusCode}: ${response.body}`)
      return { id: response.json<{ user: { id: string } }>().user.id, cookie: cookieOf(response) }
    },
    close: async () => {
      authenticator.stop()
      metrics.stop()
      await app.close()
    },
  }
}
