/**
 * Reads the environment variables once into a typed, frozen configuration. Each variable is
 * described in one place: its name, default, meaning, parser and the expected format for error
 * messages. The reference in docs/ is generated from the same table. A wrong or contradictory
 * setting throws a ConfigError of one line that names the variable, the value and what is expected.
 */
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { isWebhookSecret, limits, nameSchema } from '@chorus/protocol'
import { parseTrustedProxies } from '../support/address.ts'
import { logLevels } from '../support/logger.ts'
import type { LogLevel } from '../support/logger.ts'
import { findServiceUrlFault, type ServiceUrlRules } from '../support/service-url.ts'
import { redactUrl } from '../support/redact-url.ts'
import { StartError } from '../support/start-error.ts'

/** Error for a wrong setting. It stops the start, and its message is one line for stderr. */
export class ConfigError extends StartError {
  constructor(message: string) {
    super(message)
    this.name = 'ConfigError'
  }
}

interface Setting<T> {
  readonly variable: string
  /** Default value as shown in the documentation. */
  readonly defaultText: string
  readonly meaning: string
  /** Description of the expected value, as text that completes "expected …". */
  readonly expected: string
  /** Whether the value must never be shown, as for database URLs, which contain passwords. */
  readonly secret?: boolean
  /** Value used when the variable is unset or empty. */
  readonly absent: T
  /** Parses the text of the variable. Returns undefined if the text is not a valid value. */
  readonly parse: (text: string) => T | undefined
  /** Returns why the text is invalid, without repeating the text. */
  readonly findFault?: (text: string) => string | undefined
}

function setting<T>(definition: Setting<T>): Setting<T> {
  return definition
}

function parseInteger(text: string, min: number, max: number): number | undefined {
  if (!/^\d{1,15}$/.test(text)) return undefined
  const value = Number(text)
  return value >= min && value <= max ? value : undefined
}

function parseUrl(text: string, protocols: readonly string[]): URL | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  return protocols.includes(url.protocol) ? url : undefined
}

/**
 * Defines a setting whose value is a URL. The given check accepts only URLs that the client of the
 * service (Postgres, Redis, mail) can use.
 */
function urlSetting(
  definition: Pick<Setting<string | undefined>, 'variable' | 'defaultText' | 'meaning' | 'expected'>,
  rules: ServiceUrlRules,
): Setting<string | undefined> {
  const findFault = (text: string): string | undefined => findServiceUrlFault(text, rules)
  return setting({
    ...definition,
    secret: true,
    absent: undefined,
    parse: (text) => (findFault(text) === undefined ? text : undefined),
    findFault,
  })
}

const redisUrlRules: ServiceUrlRules = {
  protocols: ['redis:', 'rediss:'],
  path: /^\d{0,5}$/,
  allowsParameters: false,
}

/**
 * Parses an origin as browsers send it: `https://chat.example`, with nothing after the host and
 * port.
 */
function parseOrigin(text: string): string | undefined {
  const url = parseUrl(text, ['http:', 'https:'])
  if (url === undefined || url.hostname === '' || url.port === '0' || url.username !== '' || url.password !== '')
    return undefined
  return url.pathname === '/' && url.search === '' && url.hash === '' ? url.origin : undefined
}

function parseOrigins(text: string): readonly string[] | undefined {
  const origins = text.split(',').map((part) => parseOrigin(part.trim()))
  return origins.length <= 100 && origins.every((origin) => origin !== undefined) ? origins : undefined
}

function limitSetting(variable: string, defaultLimit: number, meaning: string): Setting<number> {
  return setting({
    variable,
    defaultText: String(defaultLimit),
    meaning: `${meaning}; \`0\` switches this limit off`,
    expected: 'a whole number from 0 to 1000000',
    absent: defaultLimit,
    parse: (text) => parseInteger(text, 0, 1_000_000),
  })
}

const defaultLimits = { members: 20, strangers: 300, connects: 10, connectsAddress: 50 } as const

/**
 * Defines a limit that depends on another limit: when the other limit is switched off and this one
 * is unset, this one is switched off, too.
 */
function dependentLimitSetting(
  variable: string,
  { limit, offWith }: { readonly limit: number; readonly offWith: string },
  meaning: string,
): Setting<number | undefined> {
  return setting<number | undefined>({
    ...limitSetting(variable, limit, meaning),
    defaultText: `${limit}, with \`${offWith}=0\` 0`,
    absent: undefined,
  })
}

/** All configuration variables of the server. The keys are the names in {@link Config}. */
export const settings = {
  host: setting<string>({
    variable: 'HOST',
    defaultText: '127.0.0.1',
    meaning: 'address to listen on',
    expected: 'an address or host name to listen on',
    absent: '127.0.0.1',
    parse: (text) => (/^[A-Za-z0-9.:_%-]{1,253}$/.test(text) ? text : undefined),
  }),
  port: setting<number>({
    variable: 'PORT',
    defaultText: '3000',
    meaning: 'port to listen on; 0 picks a free port and prints it',
    expected: 'a port from 0 to 65535',
    absent: 3000,
    parse: (text) => parseInteger(text, 0, 65_535),
  }),
  serverName: setting<string | undefined>({
    variable: 'SERVER_NAME',
    defaultText: 'host name and port',
    meaning: 'stable name of this server, for leases and metrics',
    expected: 'at most 100 letters, digits, dots, colons, dashes and underscores',
    absent: undefined,
    parse: (text) => (/^[A-Za-z0-9.:_-]{1,100}$/.test(text) ? text : undefined),
  }),
  databaseUrl: urlSetting(
    {
      variable: 'DATABASE_URL',
      defaultText: 'none: embedded in `DATA_DIR`',
      meaning: 'Postgres, version 15 or later',
      expected: 'postgres://user:password@host:port/database',
    },
    {
      protocols: ['postgres:', 'postgresql:'],
      path: /^[^/]{0,200}$/,
      hostParameter: 'host',
      allowsParameters: true,
    },
  ),
  dataDir: setting<string>({
    variable: 'DATA_DIR',
    defaultText: './data',
    meaning: 'folder for the embedded database and uploads',
    expected: 'a folder',
    absent: resolve('./data'),
    parse: (text) => (text.includes('\u0000') ? undefined : resolve(text)),
  }),
  redisUrl: urlSetting(
    {
      variable: 'REDIS_URL',
      defaultText: 'none: one server only',
      meaning: 'Redis for publishing, caches, leases and job queues',
      expected: 'redis://host:port or rediss://host:port, optionally with a database number like /1',
    },
    redisUrlRules,
  ),
  redisSubscribeUrl: urlSetting(
    {
      variable: 'REDIS_SUBSCRIBE_URL',
      defaultText: '`REDIS_URL`',
      meaning: 'Redis to subscribe at, for instance a replica',
      expected: 'redis://host:port or rediss://host:port, optionally with a database number like /1',
    },
    redisUrlRules,
  ),
  redisInsecure: setting<'refuse' | 'allow'>({
    variable: 'REDIS_INSECURE',
    defaultText: 'refuse',
    meaning: '`allow`: accept a Redis without a password on a public address (logs a warning)',
    expected: 'refuse or allow',
    absent: 'refuse',
    parse: (text) => (text === 'refuse' || text === 'allow' ? text : undefined),
  }),
  metricsPort: setting<number | undefined>({
    variable: 'METRICS_PORT',
    defaultText: 'none',
    meaning: 'port of `HOST` that serves Prometheus metrics at `/metrics`',
    expected: 'a port from 0 to 65535',
    absent: undefined,
    parse: (text) => parseInteger(text, 0, 65_535),
  }),
  publicUrl: setting<string | undefined>({
    variable: 'PUBLIC_URL',
    defaultText: 'derived',
    meaning: 'URL that browsers use; its origin is allowed, and with `https` cookies are Secure',
    expected: 'a URL like https://chat.example without a path',
    absent: undefined,
    parse: parseOrigin,
  }),
  allowedOrigins: setting<readonly string[]>({
    variable: 'ALLOWED_ORIGINS',
    defaultText: 'none',
    meaning: 'further allowed origins, separated by commas',
    expected: 'origins like https://app.example, separated by commas',
    absent: [],
    parse: parseOrigins,
  }),
  embedOrigins: setting<readonly string[]>({
    variable: 'EMBED_ORIGINS',
    defaultText: 'none',
    meaning:
      'origins of pages that may use Chorus with a user token, separated by commas. Cookies of their requests are ignored',
    expected: 'origins like https://shop.example, separated by commas',
    absent: [],
    parse: parseOrigins,
  }),
  tokenAudience: setting<string | undefined>({
    variable: 'TOKEN_AUDIENCE',
    defaultText: '`PUBLIC_URL`',
    meaning: 'audience that the claim `aud` of a user token must contain, if the token has one',
    expected: 'at most 200 characters without blanks',
    absent: undefined,
    parse: (text) => (/^[!-~]{1,200}$/.test(text) ? text : undefined),
  }),
  trustedProxies: setting<readonly string[]>({
    variable: 'TRUSTED_PROXIES',
    defaultText: 'none',
    meaning: 'addresses or networks of proxies whose `X-Forwarded-For` is trusted, separated by commas',
    expected: 'addresses or networks like 10.0.0.0/8, separated by commas',
    absent: [],
    parse: (text) => {
      const entries = text.split(',').map((part) => part.trim())
      return parseTrustedProxies(entries) === undefined ? undefined : entries
    },
  }),
  avatarOrigins: setting<readonly string[]>({
    variable: 'AVATAR_ORIGINS',
    defaultText: 'none: avatars of this server only',
    meaning:
      'origins from which the web application loads avatars, separated by commas; each origin sees the IP address of every viewer',
    expected: 'origins like https://pictures.example, separated by commas',
    absent: [],
    parse: (text) => {
      const origins = parseOrigins(text)
      // The origins become part of a header. This pattern accepts no character that has a meaning
      // in that header.
      return origins?.every((origin) => /^https:\/\/[a-z0-9.:[\]-]+$/.test(origin)) === true ? origins : undefined
    },
  }),
  signUp: setting<'open' | 'closed'>({
    variable: 'SIGN_UP',
    defaultText: 'open',
    meaning: '`open`, or `closed`: no new accounts',
    expected: 'open or closed',
    absent: 'open',
    parse: (text) => (text === 'open' || text === 'closed' ? text : undefined),
  }),
  welcomeChannel: setting<string | undefined>({
    variable: 'WELCOME_CHANNEL',
    defaultText: 'none',
    meaning:
      'name of a public channel that users join when they sign up. The first of them creates it if there is none. Users who were created in another way do not join it',
    expected: `a name of one line, 1 to ${limits.nameMaxChars} characters`,
    absent: undefined,
    parse: (text) => {
      const parsed = nameSchema.safeParse(text)
      return parsed.success ? parsed.data : undefined
    },
  }),
  limitSends: limitSetting(
    'LIMIT_SENDS',
    30,
    'messages, edits, reactions and changes of members or names per second and user, in bursts of twice as many',
  ),
  limitRequests: limitSetting(
    'LIMIT_REQUESTS',
    100,
    'other requests per second and user; costly requests and large responses count as several. 0 also removes the limit of 1 MB that a user may send per second',
  ),
  limitKeyRequests: limitSetting(
    'LIMIT_KEY_REQUESTS',
    1_000,
    'requests per second and API key on each server, including requests as a user (`Chorus-As`); costly requests and large responses count as several',
  ),
  limitMembers: dependentLimitSetting(
    'LIMIT_MEMBERS',
    { limit: defaultLimits.members, offWith: 'LIMIT_REQUESTS' },
    'members added per second and user, in bursts of ten times as many',
  ),
  limitStrangers: dependentLimitSetting(
    'LIMIT_STRANGERS',
    { limit: defaultLimits.strangers, offWith: 'LIMIT_REQUESTS' },
    'additions per hour of users who share no conversation with the user who adds them; counted for that user and for each added user',
  ),
  limitSignIns: limitSetting(
    'LIMIT_SIGN_INS',
    10,
    'sign-ins per minute, account and network; an account gets five times as many over all networks',
  ),
  limitSignInsAddress: limitSetting('LIMIT_SIGN_INS_ADDRESS', 100, 'sign-ins and sign-ups per minute and IP address'),
  limitNewTokenUsers: limitSetting(
    'LIMIT_NEW_TOKEN_USERS',
    1_000,
    'users per minute that user tokens of one API key create',
  ),
  limitConnections: limitSetting('LIMIT_CONNECTIONS', 200, 'open connections per IP address'),
  limitConnects: dependentLimitSetting(
    'LIMIT_CONNECTS',
    { limit: defaultLimits.connects, offWith: 'LIMIT_CONNECTIONS' },
    'connections opened per second and user, in bursts of ten times as many',
  ),
  limitConnectsAddress: dependentLimitSetting(
    'LIMIT_CONNECTS_ADDRESS',
    { limit: defaultLimits.connectsAddress, offWith: 'LIMIT_CONNECTIONS' },
    'connections opened per second and IP address, in bursts of ten times as many',
  ),
  drainNoticeMs: setting<number | undefined>({
    variable: 'DRAIN_NOTICE_MS',
    defaultText: '2000, without `REDIS_URL` 0',
    meaning:
      'when the server stops: how long it keeps serving after `/readyz` answers 503, so that load balancers notice; use 1.5 times their check interval',
    expected: 'milliseconds from 0 to 5000',
    absent: undefined,
    parse: (text) => parseInteger(text, 0, 5_000),
  }),
  drainMs: setting<number | undefined>({
    variable: 'DRAIN_MS',
    defaultText: '5000, without `REDIS_URL` 1000',
    meaning: 'when the server stops: the time over which it asks its clients to move to another server',
    expected: 'milliseconds from 0 to 9000 minus DRAIN_NOTICE_MS: a server must stop within 15 s',
    absent: undefined,
    parse: (text) => parseInteger(text, 0, 9_000),
  }),
  webhookGiveUpS: setting<number>({
    variable: 'WEBHOOK_GIVE_UP_S',
    defaultText: '86400',
    meaning:
      'how long the server retries a webhook before it becomes a dead letter; an endpoint that accepts nothing for twice as long is disabled',
    expected: 'seconds from 1 to 604800',
    absent: 86_400,
    parse: (text) => parseInteger(text, 1, 604_800),
  }),
  preSendHookUrl: urlSetting(
    {
      variable: 'PRE_SEND_HOOK_URL',
      defaultText: 'none: messages are not checked',
      meaning: 'address of your back end that is asked before a message or an edit of a user is stored',
      expected: 'http://host:port/path or https://host/path',
    },
    { protocols: ['http:', 'https:'], path: /^.{0,1000}$/, allowsParameters: true },
  ),
  preSendHookSecret: setting<string | undefined>({
    variable: 'PRE_SEND_HOOK_SECRET',
    defaultText: 'none',
    meaning: 'secret that signs the questions to `PRE_SEND_HOOK_URL`; required with it',
    expected: 'whsec_ and 24 to 64 bytes in base64',
    secret: true,
    absent: undefined,
    parse: (text) => (isWebhookSecret(text) ? text : undefined),
  }),
  preSendHookFailure: setting<'open' | 'closed'>({
    variable: 'PRE_SEND_HOOK_FAILURE',
    defaultText: 'closed',
    meaning:
      'what happens to a message when `PRE_SEND_HOOK_URL` gives no usable answer. `closed`: the server answers `unavailable`, and clients try again; `open`: the message is stored unchecked',
    expected: 'open or closed',
    absent: 'closed',
    parse: (text) => (text === 'open' || text === 'closed' ? text : undefined),
  }),
  smtpUrl: urlSetting(
    {
      variable: 'SMTP_URL',
      defaultText: 'none: no mail',
      meaning: 'mail server for digests to users who were away',
      expected: 'smtp://user:password@host:port or smtps://user:password@host:port',
    },
    { protocols: ['smtp:', 'smtps:'], path: /^$/, allowsParameters: true },
  ),
  mailFrom: setting<string | undefined>({
    variable: 'MAIL_FROM',
    defaultText: 'none',
    meaning: 'sender of mails; required with `SMTP_URL`',
    expected: 'an address like chat@example.org or Chat <chat@example.org>',
    absent: undefined,
    parse: (text) =>
      /^(?:[^<>@"\r\n,;:]{1,100} )?<?[^\s<>@",;:]{1,64}@[A-Za-z0-9.-]{1,190}>?$/.test(text) ? text : undefined,
  }),
  mailDelayS: setting<number>({
    variable: 'MAIL_DELAY_S',
    defaultText: '600',
    meaning:
      'age at which an unread message is mailed to a user who is away; a user gets at most one digest in six times that',
    expected: 'seconds from 1 to 604800',
    absent: 600,
    parse: (text) => parseInteger(text, 1, 604_800),
  }),
  canary: setting<'on' | 'off'>({
    variable: 'CANARY',
    defaultText: 'off',
    meaning:
      '`on`: a synthetic member on each server exchanges messages with those of the other servers and measures loss, duplicates, reordering and latency; each server sends one small message every ten seconds',
    expected: 'on or off',
    absent: 'off',
    parse: (text) => (text === 'on' || text === 'off' ? text : undefined),
  }),
  logLevel: setting<LogLevel>({
    variable: 'LOG_LEVEL',
    defaultText: 'info',
    meaning: 'lowest level of the log lines to write',
    expected: logLevels.join(', '),
    absent: 'info',
    parse: (text) => logLevels.find((level) => level === text),
  }),
} as const

type Settings = typeof settings
type Parsed = { readonly [Key in keyof Settings]: Settings[Key] extends Setting<infer T> ? T : never }

/** Configuration of a server. Frozen. */
export type Config = Omit<
  Parsed,
  | 'serverName'
  | 'drainNoticeMs'
  | 'drainMs'
  | 'limitMembers'
  | 'limitStrangers'
  | 'limitConnects'
  | 'limitConnectsAddress'
> & {
  readonly serverName: string
  readonly drainNoticeMs: number
  readonly drainMs: number
  readonly limitMembers: number
  readonly limitStrangers: number
  readonly limitConnects: number
  readonly limitConnectsAddress: number
}

/**
 * Maximum time from the stop signal until the last responses are sent. A server ends within 15 s of
 * the signal, and the rest of the stop needs the remaining time.
 */
const drainMaxMs = 9_000

/** One row of the configuration reference in docs/. */
export interface SettingDescription {
  readonly variable: string
  readonly default: string
  readonly meaning: string
  readonly expected: string
}

export function describeSettings(): readonly SettingDescription[] {
  return Object.values(settings).map(({ variable, defaultText, meaning, expected }) => ({
    variable,
    default: defaultText,
    meaning,
    expected,
  }))
}

type Environment = Readonly<Record<string, string | undefined>>

function readSetting<T>(environment: Environment, definition: Setting<T>): T {
  const text = environment[definition.variable]?.trim()
  if (text === undefined || text === '') return definition.absent
  const value = definition.parse(text)
  if (value === undefined) {
    const fault = definition.findFault?.(text)
    refuse(definition, text, `expected ${definition.expected}${fault === undefined ? '' : `: ${fault}`}`)
  }
  return value
}

function refuse(definition: Pick<Setting<unknown>, 'variable' | 'secret'>, text: string, reason: string): never {
  const shown = definition.secret === true ? redactUrl(text) : JSON.stringify(text.slice(0, 200))
  throw new ConfigError(`${definition.variable} is ${shown}; ${reason}`)
}

/** Reads the configuration from the environment variables. Throws {@link ConfigError}. */
export function readConfig(environment: Environment): Config {
  const parsed = Object.fromEntries(
    Object.entries(settings).map(([key, definition]) => [
      key,
      readSetting(environment, definition as Setting<unknown>),
    ]),
  ) as Parsed

  // A single server does not wait long when it stops, because its clients cannot move to another
  // server.
  const isAlone = parsed.redisUrl === undefined
  const drainNoticeMs = parsed.drainNoticeMs ?? (isAlone ? 0 : 2_000)
  const drainMs = parsed.drainMs ?? (isAlone ? 1_000 : Math.min(5_000, drainMaxMs - drainNoticeMs))
  if (drainNoticeMs + drainMs > drainMaxMs)
    refuse(settings.drainMs, String(drainMs), `expected ${settings.drainMs.expected}`)
  if (parsed.redisSubscribeUrl !== undefined && parsed.redisUrl === undefined) {
    refuse(settings.redisSubscribeUrl, parsed.redisSubscribeUrl, 'expected REDIS_URL to be set as well')
  }
  if (parsed.redisUrl !== undefined && parsed.databaseUrl === undefined) {
    refuse(
      settings.redisUrl,
      parsed.redisUrl,
      'expected DATABASE_URL to be set as well: an embedded database serves one server',
    )
  }
  if (parsed.smtpUrl !== undefined && (parsed.mailFrom === undefined || parsed.publicUrl === undefined)) {
    refuse(
      settings.smtpUrl,
      parsed.smtpUrl,
      'expected MAIL_FROM and PUBLIC_URL to be set as well: mails need a sender and links',
    )
  }
  if ((parsed.preSendHookUrl === undefined) !== (parsed.preSendHookSecret === undefined)) {
    const isUrl = parsed.preSendHookUrl !== undefined
    refuse(
      isUrl ? settings.preSendHookUrl : settings.preSendHookSecret,
      parsed.preSendHookUrl ?? '',
      `expected ${isUrl ? 'PRE_SEND_HOOK_SECRET' : 'PRE_SEND_HOOK_URL'} to be set as well`,
    )
  }
  const both = parsed.embedOrigins.find((origin) => parsed.allowedOrigins.includes(origin))
  if (both !== undefined) {
    refuse(
      settings.embedOrigins,
      both,
      'expected no origin of ALLOWED_ORIGINS: cookies of its pages are either used or ignored',
    )
  }
  if (parsed.metricsPort !== undefined && parsed.metricsPort !== 0 && parsed.metricsPort === parsed.port) {
    refuse(settings.metricsPort, String(parsed.metricsPort), 'expected a port other than PORT')
  }
  const { limitRequests, limitConnections } = parsed
  const place = parsed.port === 0 ? `pid-${process.pid}` : String(parsed.port)
  const serverName = parsed.serverName ?? `${hostname()}:${place}`
  return Object.freeze({
    ...parsed,
    serverName,
    drainNoticeMs,
    drainMs,
    limitMembers: parsed.limitMembers ?? (limitRequests === 0 ? 0 : defaultLimits.members),
    limitStrangers: parsed.limitStrangers ?? (limitRequests === 0 ? 0 : defaultLimits.strangers),
    limitConnects: parsed.limitConnects ?? (limitConnections === 0 ? 0 : defaultLimits.connects),
    limitConnectsAddress: parsed.limitConnectsAddress ?? (limitConnections === 0 ? 0 : defaultLimits.connectsAddress),
    tokenAudience: parsed.tokenAudience ?? parsed.publicUrl,
    allowedOrigins: Object.freeze([...parsed.allowedOrigins]),
    embedOrigins: Object.freeze([...parsed.embedOrigins]),
    avatarOrigins: Object.freeze([...parsed.avatarOrigins]),
    trustedProxies: Object.freeze([...parsed.trustedProxies]),
  })
}
