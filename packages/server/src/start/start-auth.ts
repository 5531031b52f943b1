/**
 * Starts password checks, rate limits, the list of revoked sessions, the list of live API keys,
 * user tokens, and the authenticator with its cache of sessions.
 */
import { findSessions, readRecentRevocations, touchSessions } from '../accounts/sessions.ts'
import { Authenticator, cookieNameFor } from '../auth/authenticator.ts'
import { Limits, wideSignInsFactor } from '../auth/limits.ts'
import { Passwords } from '../auth/passwords.ts'
import { RecentRevocations } from '../auth/recent-revocations.ts'
import { SessionCache } from '../auth/session-cache.ts'
import { SharedLimits } from '../auth/shared-limits.ts'
import { readSetting } from '../database/settings.ts'
import { KeyRegistry } from '../keys/key-registry.ts'
import { readLiveKeys, touchKeys } from '../keys/key-store.ts'
import type { StartContext } from './start-context.ts'
import type { RedisParts } from './start-redis.ts'
import type { Store } from './start-store.ts'
import { startTokens, type Tokens } from './start-tokens.ts'

export interface Auth {
  readonly passwords: Passwords
  readonly limits: Limits
  readonly revocations: RecentRevocations
  readonly keys: KeyRegistry
  readonly tokens: Tokens
}

export async function startAuth(
  context: StartContext,
  store: Store,
  redisParts: RedisParts | undefined,
): Promise<Auth> {
  const { config, logger, clock, lifecycle, metrics } = context
  const { database } = store
  const passwords = await Passwords.create({ onHash: (seconds) => metrics.passwordSeconds.observe(seconds) })
  const sharedLimits =
    redisParts &&
    new SharedLimits({
      redis: redisParts.redis,
      clock,
      signIns: config.limitSignIns,
      signInsWide: config.limitSignIns * wideSignInsFactor,
      signInsAddress: config.limitSignInsAddress,
      newTokenUsers: config.limitNewTokenUsers,
      onReport: (outcome) => metrics.limitReports.inc({ outcome }),
    })
  await lifecycle.start({ name: 'limits', stop: async () => sharedLimits?.stop() })
  const limits = new Limits(config, clock, (limit) => metrics.rateLimited.inc({ limit }), sharedLimits)
  const revocations = new RecentRevocations({
    load: (withinMs, limit) => readRecentRevocations(database, withinMs, limit),
    clock,
    onProblem: (problem) => logger.warn({ err: problem }, 'unable to read recent revocations; trying again'),
  })
  await lifecycle.start({ name: 'revocations', stop: async () => revocations.stop() })
  const keys = new KeyRegistry({
    load: () => readLiveKeys(database),
    touch: (ids) => touchKeys(database, ids),
    clock,
    onProblem: (problem) => logger.warn({ err: problem }, 'unable to store when API keys were last used'),
  })
  await lifecycle.start({ name: 'keys', stop: () => keys.stop() })
  return { passwords, limits, revocations, keys, tokens: await startTokens(context, store, limits, keys) }
}

/**
 * Starts the authenticator. It trusts a session in its cache only while the last sweep is recent,
 * because the sweep reads which sessions were revoked (rule ACL2).
 */
export async function startAuthenticator(
  { config, logger, clock, lifecycle, metrics }: StartContext,
  { database, epoch, time }: Store,
  redisParts: RedisParts | undefined,
  { revocations }: Auth,
  sweepAgeMs: () => number,
): Promise<Authenticator> {
  const authenticator = new Authenticator({
    records: { find: (hashes) => findSessions(database, hashes), touch: (ids) => touchSessions(database, ids) },
    cookieName: cookieNameFor(config.publicUrl),
    cookieSecret: await readSetting(database, 'cookie-secret'),
    clock,
    cache:
      redisParts &&
      new SessionCache({
        cache: redisParts.sharedCache,
        revocations,
        sweepAgeMs,
        now: () => time.now(),
        epoch: () => epoch.value,
        onRead: (outcome) => metrics.cacheReads.inc({ cache: 'sessions', outcome }),
      }),
    onProblem: (problem) => logger.warn({ err: problem }, 'unable to store when sessions were last used'),
  })
  await lifecycle.start({ name: 'authenticator', stop: async () => authenticator.stop() })
  return authenticator
}
