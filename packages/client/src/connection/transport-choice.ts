/**
 * Chooses the transport of each new link. After repeated failures to open, it alternates between
 * the preferred transport and the fallbacks.
 *
 * Guarantee: a client on a fallback tries the preferred transport again, soon at first and rarely
 * later. The working link stays open during the attempt.
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { Transport } from './transport.ts'

/** Number of failed attempts to open the preferred transport before the next transport is tried. */
export const failuresBeforeFallback = 3
/**
 * Time to stay on a fallback before the preferred transport is tried again, multiplied by 0.5 to
 * 1.5. The first retry is soon, because the server may only have been restarting. Later retries are
 * rare.
 */
export const preferredFirstRetryMs = 3_000
export const preferredRetryMs = 300_000

export class TransportChoice {
  readonly #transports: readonly Transport[]
  readonly #clock: Clock
  /** Number of links that failed to open since the preferred transport last opened. */
  #openFailures = 0
  /** Number of attempts to return to the preferred transport since it last opened. */
  #returns = 0
  #cancelReturn: () => void = () => undefined

  /** `transports` are in order of preference. */
  constructor(transports: readonly Transport[], clock: Clock) {
    this.#transports = transports
    this.#clock = clock
  }

  /** True if a link failed to open since the preferred transport last opened. */
  get hasFailed(): boolean {
    return this.#openFailures > 0
  }

  /** Returns the transport for the next link. */
  next(): Transport {
    const [preferred, ...others] = this.#transports
    if (preferred === undefined) throw new ChorusError('invalid', 'unable to connect; no transport is given')
    const beyond = this.#openFailures - failuresBeforeFallback
    if (beyond < 0 || others.length === 0) return preferred
    return this.#transports[(beyond + 1) % this.#transports.length] ?? preferred
  }

  /** Counts a link that did not open. */
  failed(): void {
    this.#openFailures += 1
  }

  /** Forgets the failures if the transport that opened is the preferred one. */
  opened(transport: Transport): void {
    if (transport !== this.#transports[0]) return
    this.#openFailures = 0
    this.#returns = 0
  }

  /** Schedules a move to the preferred transport if `current` is a fallback. Cancels an earlier plan. */
  planReturn(current: Transport | undefined, move: (preferred: Transport) => void): void {
    this.#cancelReturn()
    const [preferred] = this.#transports
    if (preferred === undefined || current === undefined || current === preferred) return
    const delayMs = Math.min(preferredRetryMs, preferredFirstRetryMs * 10 ** this.#returns)
    this.#cancelReturn = this.#clock.after(delayMs * (0.5 + this.#clock.random()), () => {
      this.#returns = Math.min(this.#returns + 1, 8)
      move(preferred)
    })
  }
}
