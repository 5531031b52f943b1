/**
 * Signs cards and publishes the public keys. Guarantee: the signature covers the conversation and
 * the `clientId` of the message, so a copied card does not verify elsewhere (rule CARD2). The keys
 * are read at most once per `trustedMs`, whatever the number of requests.
 */
import { type Card, type CardKey, type CardPayload, ChorusError, type Id } from '@chorus/protocol'
import { CompactSign, type CryptoKey, importJWK } from 'jose'
import type { Clock } from '../support/clock.ts'
import type { SigningKeys } from './signing-keys.ts'

/** Time for which the keys are used before they are read again. */
const trustedMs = 60_000

export interface CardSignerOptions {
  /** Issuer in the signed payload: the public address of the deployment. */
  readonly issuer: string
  readonly load: () => Promise<SigningKeys>
  readonly clock: Clock
  /** Returns the time of the database. */
  readonly now: () => Date
}

interface LoadedKeys {
  readonly kid: string
  readonly key: CryptoKey
  readonly published: readonly CardKey[]
  readonly atMs: number
}

export class CardSigner {
  readonly #options: CardSignerOptions
  #loaded: LoadedKeys | undefined
  #loading: Promise<LoadedKeys> | undefined

  constructor(options: CardSignerOptions) {
    this.#options = options
  }

  /** Returns the card with its signature. Rejects with `unavailable` if the keys cannot be read. */
  async sign(conversation: Id, clientId: Id, card: Omit<Card, 'jws' | 'acted'>): Promise<Card> {
    const { kid, key } = await this.#keys()
    const { issuer, now } = this.#options
    const iat = Math.floor(now().getTime() / 1_000)
    const payload: CardPayload = { iss: issuer, conversation, card: clientId, ...card, iat }
    const jws = await new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
      .setProtectedHeader({ alg: 'EdDSA', kid })
      .sign(key)
    return { ...card, acted: null, jws }
  }

  /** Returns the public keys. Rejects with `unavailable` if they cannot be read. */
  async published(): Promise<readonly CardKey[]> {
    return (await this.#keys()).published
  }

  async #keys(): Promise<LoadedKeys> {
    if (this.#loaded !== undefined && this.#options.clock.nowMs() - this.#loaded.atMs < trustedMs) return this.#loaded
    this.#loading ??= this.#load()
    try {
      return await this.#loading
    } catch (error) {
      throw new ChorusError('unavailable', 'unable to read the keys of cards; the database does not answer', {
        retryAfterMs: 1_000,
        cause: error,
      })
    }
  }

  async #load(): Promise<LoadedKeys> {
    const atMs = this.#options.clock.nowMs()
    try {
      const { current, published } = await this.#options.load()
      const key = (await importJWK(current.privateJwk, 'EdDSA')) as CryptoKey
      this.#loaded = { kid: current.kid, key, published, atMs }
      return this.#loaded
    } finally {
      this.#loading = undefined
    }
  }
}
