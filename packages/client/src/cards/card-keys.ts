/**
 * Public keys that cards are signed with.
 *
 * Guarantee: one request is in flight at a time. An unknown key is requested at most every 30 s, so
 * cards with invented keys cause no load. The number of keys is limited (rule LIM1).
 */
import type { CardKey } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { HttpApi } from '../wire/http-api.ts'
import { readBytes } from './verify-card.ts'

/** Minimum time between two requests for keys. */
export const keysPauseMs = 30_000
/** Maximum number of keys that are kept, the newest first. */
const keysMax = 200
const keyBytes = 32

export class CardKeys {
  readonly #api: HttpApi
  readonly #clock: Pick<Clock, 'now'>
  #keys = new Map<string, Uint8Array<ArrayBuffer>>()
  #readAtMs = Number.NEGATIVE_INFINITY
  #reading: Promise<void> | undefined

  constructor(api: HttpApi, clock: Pick<Clock, 'now'>) {
    this.#api = api
    this.#clock = clock
  }

  /**
   * Returns the key with this id, or undefined if the server does not publish it. Rejects if the
   * keys cannot be read.
   */
  async find(kid: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (!this.#keys.has(kid) && (this.#reading !== undefined || this.#isDue())) {
      this.#reading ??= this.#read().finally(() => {
        this.#reading = undefined
      })
      await this.#reading
    }
    return this.#keys.get(kid)
  }

  #isDue(): boolean {
    return this.#clock.now() - this.#readAtMs >= keysPauseMs
  }

  async #read(): Promise<void> {
    const { keys } = await this.#api.call('list-card-keys', {})
    this.#keys = new Map(keys.slice(0, keysMax).flatMap((key) => toEntry(key)))
    this.#readAtMs = this.#clock.now()
  }
}

function toEntry({ kid, kty, crv, x }: Partial<CardKey>): [string, Uint8Array<ArrayBuffer>][] {
  const bytes = kty === 'OKP' && crv === 'Ed25519' ? readBytes(`${x}`) : undefined
  return kid === undefined || bytes?.length !== keyBytes ? [] : [[kid, bytes]]
}
