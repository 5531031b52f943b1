/** The check of user tokens on a real database, with a clock that a test moves by hand. */
import { randomBytes } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { createUnusableHash } from '../../accounts/unusable-hash.ts'
import { Limits, type LimitSettings } from '../../auth/limits.ts'
import { noLimits } from '../../auth/testing/no-limits.ts'
import type { Database } from '../../database/database.ts'
import { KeyRegistry } from '../../keys/key-registry.ts'
import { insertKey, readLiveKeys } from '../../keys/key-store.ts'
import { ManualClock } from '../../support/testing/manual-clock.ts'
import type { NamedJwk } from '../fetch-key-set.ts'
import { JwksCache } from '../jwks-cache.ts'
import { TokenKeys } from '../token-keys.ts'
import { TokenSessions } from '../token-sessions.ts'
import { UserTokens } from '../user-tokens.ts'
import { makeSecretKey, type SigningKey } from '@chorus/testkit'

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'

/** Stores an API key. Returns the key that signs its tokens. */
export async function createKey(database: Database, name = 'shop', endsAt: string | null = null): Promise<SigningKey> {
  const id = `key_${[...randomBytes(16)].map((byte) => alphabet[byte % alphabet.length]).join('')}`
  const signingSecret = randomBytes(32).toString('base64url')
  await insertKey(database, {
    id,
    name,
    scopes: ['read', 'write'],
    secretHash: randomBytes(32),
    signingSecret,
    endsAt,
    bot: { id: uuidv7(), handle: `bot-${id.slice(4)}`, passwordHash: createUnusableHash() },
  })
  return makeSecretKey(id, signingSecret)
}

export interface TokenFixture {
  readonly tokens: UserTokens
  readonly sessions: TokenSessions
  readonly clock: ManualClock
  readonly outcomes: string[]
}

export interface FixtureOptions {
  readonly limits?: Partial<LimitSettings>
  readonly audience?: string
  /** JWK sets by URL. A promise delays its answer. */
  readonly sets?: Readonly<Record<string, readonly NamedJwk[] | Promise<readonly NamedJwk[]>>>
}

/** Starts the check of tokens, as one server does. The test moves its clock; the time is real. */
export function startTokens(database: Database, options: FixtureOptions = {}): TokenFixture {
  const clock = new ManualClock()
  const limits = new Limits({ ...noLimits, ...options.limits }, clock)
  const outcomes: string[] = []
  const registry = new KeyRegistry({
    load: () => readLiveKeys(database),
    touch: async () => undefined,
    clock,
    onProblem: () => undefined,
  })
  const jwks = new JwksCache({ clock, fetch: async (url) => options.sets?.[url] ?? Promise.reject(new Error('down')) })
  const now = (): Date => new Date()
  const tokens = new UserTokens({
    database,
    keys: new TokenKeys(registry, jwks),
    limits,
    audience: options.audience,
    clock,
    now,
    noteKeyUse: () => undefined,
    onCheck: (outcome) => void outcomes.push(outcome),
  })
  const sessions = new TokenSessions({
    database,
    limits,
    clock,
    now,
    onProblem: (problem) => {
      throw problem
    },
  })
  return { tokens, sessions, clock, outcomes }
}
