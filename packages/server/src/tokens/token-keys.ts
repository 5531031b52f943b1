/**
 * Finds the keys that may verify a token, by its `kid`: the id of an API key, or the kid of a
 * public key in exactly one registered set. Only keys whose type has the algorithm of the header are
 * returned. Keys of revoked API keys are gone within half a second (keys/key-registry.ts).
 */
import type { KeyRegistry } from '../keys/key-registry.ts'
import { keyIdPattern } from '../keys/key-store.ts'
import type { JwksCache } from './jwks-cache.ts'
import { readPublicJwk, toSecretKey, type VerificationKey } from './verification-key.ts'
import { type TokenHeader, tokenRefusal } from './verify-token.ts'

export class TokenKeys {
  readonly #registry: Pick<KeyRegistry, 'live'>
  readonly #jwks: JwksCache

  constructor(registry: Pick<KeyRegistry, 'live'>, jwks: JwksCache) {
    this.#registry = registry
    this.#jwks = jwks
  }

  /** Returns the time at which an API key ends. Its tokens do not outlive it. */
  async endOf(keyId: string): Promise<number> {
    const key = (await this.#registry.live()).find(({ id }) => id === keyId)
    return key?.endsAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(key.endsAt)
  }

  /** Returns at least one key, or throws a refusal. `network`: where the token came from. */
  async find({ kid, alg }: TokenHeader, network: string): Promise<readonly VerificationKey[]> {
    const keys = await this.#registry.live()
    if (keyIdPattern.test(kid)) {
      const key = keys.find(({ id }) => id === kid)
      if (key === undefined) throw tokenRefusal('there is no API key with its kid, or it was revoked')
      const all =
        alg === 'HS256'
          ? key.signingSecrets.map((secret) => toSecretKey(kid, secret))
          : key.publicKeys.map(({ jwk }) => readPublicJwk(kid, jwk))
      return fittingKeys(all, alg)
    }
    const registered = keys.flatMap(({ id, publicKeys }) =>
      publicKeys.filter((publicKey) => publicKey.kid === kid).map(({ jwk }) => readPublicJwk(id, jwk)),
    )
    const sets = keys.filter(({ keySetUrl }) => keySetUrl !== undefined)
    const urls = [...new Set(sets.map(({ keySetUrl }) => keySetUrl as string))]
    // Also if a registered key has the kid, because two keys with one kid are refused.
    const found = registered.length > 0 ? await this.#jwks.peek(kid, urls) : await this.#jwks.find(kid, urls, network)
    const fetched = found.flatMap(({ url, jwk }) =>
      sets.filter(({ keySetUrl }) => keySetUrl === url).map(({ id }) => readPublicJwk(id, jwk)),
    )
    const all = [...registered, ...fetched]
    if (all.length > 1) throw tokenRefusal('its kid is in more than one registered set of keys')
    if (all.length === 0) throw tokenRefusal('no registered set of keys has its kid')
    return fittingKeys(all, alg)
  }
}

function fittingKeys(keys: readonly (VerificationKey | undefined)[], alg: string): readonly VerificationKey[] {
  const fitting = keys.filter((key) => key?.algorithm === alg)
  if (fitting.length === 0) throw tokenRefusal(`the key that its kid names does not sign with ${alg}`)
  return fitting as readonly VerificationKey[]
}
