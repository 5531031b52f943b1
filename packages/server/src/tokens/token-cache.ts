/**
 * Verified tokens in memory, so that a token costs one hash and two look-ups after its first use.
 * Keyed by the SHA-256 of the token: no token stays in memory. Evicts the least recently used one.
 *
 * An entry is no permission. Its user (tokens/user-tokens.ts) still checks the time, that its key is
 * in force, and the state of the user.
 */
import { createHash } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import type { TokenHeader } from './verify-token.ts'

const tokensMax = 10_000

export interface VerifiedToken {
  readonly header: TokenHeader
  /** {@link VerificationKey.id} of the key that verified it. */
  readonly verifiedBy: string
  readonly keyId: string
  readonly externalId: string
  /** Whole seconds. */
  readonly iat: number
  readonly expMs: number
  userId: Id
  /** Time at which the state of the user was read, on the monotonic clock. */
  checkedAtMs: number
  /** Whether the state is read again at the moment, ahead of time. */
  isRefreshing: boolean
  /** Session that requests with this token and device use. */
  session: { readonly device: string; readonly id: Id } | undefined
}

export class TokenCache {
  readonly #tokens = new Map<string, VerifiedToken>()

  get size(): number {
    return this.#tokens.size
  }

  find(hash: string): VerifiedToken | undefined {
    const found = this.#tokens.get(hash)
    if (found === undefined) return undefined
    this.#tokens.delete(hash)
    this.#tokens.set(hash, found)
    return found
  }

  add(hash: string, token: VerifiedToken): void {
    this.#tokens.set(hash, token)
    const [oldest] = this.#tokens.keys()
    if (this.#tokens.size > tokensMax && oldest !== undefined) this.#tokens.delete(oldest)
  }

  delete(hash: string): void {
    this.#tokens.delete(hash)
  }
}

export function hashOfToken(token: string): string {
  return createHash('sha256').update(token).digest('base64')
}
