/** Starts the check of user tokens, their key sets, and their sessions. */
import type { Limits } from '../auth/limits.ts'
import type { KeyRegistry } from '../keys/key-registry.ts'
import { redactUrl } from '../support/redact-url.ts'
import { fetchKeySet } from '../tokens/fetch-key-set.ts'
import { JwksCache } from '../tokens/jwks-cache.ts'
import { TokenKeys } from '../tokens/token-keys.ts'
import { TokenSessions } from '../tokens/token-sessions.ts'
import { UserTokens } from '../tokens/user-tokens.ts'
import type { StartContext } from './start-context.ts'
import type { Store } from './start-store.ts'

export interface Tokens {
  readonly userTokens: UserTokens
  readonly tokenSessions: TokenSessions
}

export async function startTokens(
  { config, logger, clock, lifecycle, metrics }: StartContext,
  { database, time }: Store,
  limits: Limits,
  registry: KeyRegistry,
): Promise<Tokens> {
  const fetches = new AbortController()
  const jwks = new JwksCache({
    clock,
    fetch: (url) => fetchKeySet(url, fetches.signal),
    onLoad: (url, error, staleForMs) => {
      metrics.keySetLoads.inc({ outcome: error === undefined ? 'loaded' : 'failed' })
      if (error === undefined || fetches.signal.aborted) return
      const hours = Number.isFinite(staleForMs) ? Math.round(staleForMs / 3_600_000) : null
      logger.warn({ err: error, url: redactUrl(url), hours }, 'unable to load a set of public keys; trying again')
    },
  })
  await lifecycle.start({ name: 'key sets', stop: async () => fetches.abort() })
  const now = (): Date => time.now()
  const userTokens = new UserTokens({
    database,
    keys: new TokenKeys(registry, jwks),
    limits,
    audience: config.tokenAudience,
    clock,
    now,
    noteKeyUse: (keyId) => registry.noteUse(keyId),
    onCheck: (outcome, seconds) => metrics.tokenCheckSeconds.observe({ outcome }, seconds),
  })
  const tokenSessions = new TokenSessions({
    database,
    limits,
    clock,
    now,
    onProblem: (problem) => logger.warn({ err: problem }, 'unable to end sessions of closed connections'),
  })
  await lifecycle.start({ name: 'token sessions', stop: () => tokenSessions.stop() })
  return { userTokens, tokenSessions }
}
