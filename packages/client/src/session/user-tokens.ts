/**
 * The user token of an application that signs in its own users (`getToken`).
 *
 * Guarantees: one call of `getToken` runs at a time, and all requests share its result. A token is
 * renewed before it ends, also on the open connection, which stays open. A failing `getToken` is
 * called again only after a back-off with jitter. When the server has refused four tokens in a row,
 * no further one is asked for until `restart`.
 */
import { ChorusError } from '@chorus/protocol'
import { backoffDelayMs } from '../support/backoff.ts'
import { createClientId } from '../support/client-id.ts'
import type { Clock } from '../support/clock.ts'
import type { LinkTokens, TokenUse } from '../connection/transport-socket-io.ts'
import type { Connection } from '../connection/connection.ts'
import type { ChatStore } from '../model/store.ts'

export const tokenTimings = {
  /** Maximum time of one call of `getToken`. */
  askMaxMs: 8_000,
  /** Part of the life of a token after which it is renewed. */
  renewAfterPart: 0.8,
  /** A token is renewed at least this long before its end, if it lives long enough. */
  reserveMs: 10_000,
  /** Minimum delay after a failure, multiplied by 0.5 to 1.5. */
  retryMinMs: 1_000,
} as const

/** Number of refused tokens in a row after which the client gives up. */
export const refusalsMax = 4

export interface UserTokensOptions {
  /** The application's function. */
  readonly getToken: () => Promise<string>
  readonly fetch: typeof fetch
  readonly store: Pick<ChatStore, 'readDevice'>
  readonly clock: Clock
  readonly connection: () => Pick<Connection, 'request' | 'reconnect' | 'transportName'>
}

interface HeldToken {
  readonly text: string
  /** On the monotonic clock. Infinite for a token without `iat` and `exp`. */
  readonly renewAtMs: number
  readonly endsAtMs: number
}

export class UserTokens implements LinkTokens {
  readonly #options: UserTokensOptions
  #held: HeldToken | undefined
  #asking: Promise<string> | undefined
  #device: Promise<string> | undefined
  /** Newest token that the server accepted for the current link. */
  #linkToken: string | undefined
  #isConnected = false
  #isRenewing = false
  #refusals = 0
  #failures = 0
  /** Time before which `getToken` is not called, on the monotonic clock. */
  #askAtMs = Number.NEGATIVE_INFINITY
  #cancelRenewal: () => void = () => undefined

  constructor(options: UserTokensOptions) {
    this.#options = options
  }

  get isRefused(): boolean {
    return this.#refusals >= refusalsMax
  }

  /**
   * Sends a request with the current token, and again with the next one after a refusal. Rejects
   * with `unavailable` if there is none at the moment, and with `unauthenticated` after too many
   * refusals.
   */
  readonly fetch: typeof fetch = async (input, init) => {
    let response = await this.#send(input, init)
    // The server executes nothing with a refused token.
    for (let tries = 1; tries < refusalsMax && response.status === 401 && !this.isRefused; tries++)
      response = await this.#send(input, init)
    return response
  }

  async #send(...[input, init]: Parameters<typeof fetch>): Promise<Response> {
    const { token, device } = await this.#current()
    if (init?.signal?.aborted === true) throw new Error('the request was aborted')
    const headers = new Headers(init?.headers)
    headers.delete('cookie')
    headers.set('authorization', `Bearer ${token}`)
    headers.set('chorus-device', device)
    const response = await this.#options.fetch(input, { ...init, headers, credentials: 'omit' })
    if (response.ok || response.status === 401) this.settle(token, response.ok)
    return response
  }

  async forLink(): Promise<TokenUse> {
    const use = await this.#current()
    this.#linkToken = use.token
    return use
  }

  /** Notes whether the server has accepted the token. */
  settle(token: string, isAccepted: boolean): void {
    if (token !== this.#held?.text) return
    if (isAccepted) this.#refusals = 0
    else {
      this.#refusals += 1
      this.#held = undefined
    }
  }

  /** Notes whether commands can be sent over the current link, which then gets renewed tokens. */
  follow(isConnected: boolean): void {
    this.#isConnected = isConnected
    this.#cancelRenewal()
    if (isConnected) this.#renewLink()
  }

  /** Asks for tokens again after too many refusals. */
  restart(): void {
    if (!this.isRefused) return
    this.#refusals = 0
    this.#askAtMs = Number.NEGATIVE_INFINITY
  }

  async #current(): Promise<TokenUse> {
    return { token: await this.#text(), device: await this.#readDevice() }
  }

  async #text(): Promise<string> {
    if (this.isRefused) throw refused()
    const nowMs = this.#options.clock.now()
    const held = this.#held
    if (held !== undefined && nowMs < held.renewAtMs) return held.text
    try {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined
      })
      return await this.#asking
    } catch (error) {
      // The token is still valid for a while.
      if (held !== undefined && held === this.#held && nowMs < held.endsAtMs) return held.text
      throw error
    }
  }

  async #ask(): Promise<string> {
    const { clock } = this.#options
    const waitMs = this.#askAtMs - clock.now()
    if (waitMs > 0) throw noToken({ retryAfterMs: Math.ceil(waitMs) })
    // The first refused token has probably expired while the device slept. Further ones mean that
    // the application or the server has a problem.
    if (this.#refusals > 1) await this.#pause(this.#refusals - 1)
    let text: unknown
    try {
      text = await this.#callApplication()
      if (typeof text !== 'string' || text === '') throw new TypeError('getToken must resolve to a token')
    } catch (error) {
      if (error instanceof ChorusError && error.code === 'unauthenticated') {
        this.#refusals = refusalsMax
        throw error
      }
      const delayMs = Math.max(tokenTimings.retryMinMs * (0.5 + clock.random()), backoffDelayMs(this.#failures, clock))
      this.#askAtMs = clock.now() + delayMs
      this.#failures += 1
      throw noToken({ cause: error })
    }
    this.#failures = 0
    this.#held = this.#toHeld(text)
    if (this.#isConnected) this.#renewLink()
    return text
  }

  #callApplication(): Promise<unknown> {
    const { getToken, clock } = this.#options
    return new Promise((resolve, reject) => {
      const cancel = clock.after(tokenTimings.askMaxMs, () =>
        reject(new Error(`getToken did not resolve within ${tokenTimings.askMaxMs} ms`)),
      )
      // Asynchronous, so that an exception of the application becomes a rejection.
      const call = async (): Promise<string> => getToken()
      void call().then(resolve, reject).finally(cancel)
    })
  }

  #pause(attempt: number): Promise<void> {
    const { clock } = this.#options
    const delayMs = tokenTimings.retryMinMs * 2 ** (attempt - 1) * (1 + clock.random())
    return new Promise((resolve) => void clock.after(delayMs, resolve))
  }

  #toHeld(text: string): HeldToken {
    const { clock } = this.#options
    const nowMs = clock.now()
    const leftMs = timeLeftMs(text, clock.wallNow())
    const { renewAfterPart, reserveMs } = tokenTimings
    const renewInMs = Math.max(Math.min(leftMs * renewAfterPart, leftMs - reserveMs), leftMs / 2)
    // Earlier by a random part, so that clients with tokens of one time do not renew them together.
    return { text, renewAtMs: nowMs + renewInMs * (1 - clock.random() / 10), endsAtMs: nowMs + leftMs }
  }

  #readDevice(): Promise<string> {
    const fresh = createClientId()
    const { store } = this.#options
    // A store that fails costs the device its name, not the user the chat.
    this.#device ??= (store.readDevice?.(fresh) ?? Promise.resolve(fresh)).catch(() => fresh)
    return this.#device
  }

  /** Renews the token when it is due, and sends it over the open connection. */
  #renewLink(attempt = 0): void {
    this.#cancelRenewal()
    if (this.#isRenewing) return
    const { clock } = this.#options
    const held = this.#held
    const isBehind = held?.text !== this.#linkToken
    const dueInMs =
      attempt === 0 ? 0 : Math.max(tokenTimings.retryMinMs * (0.5 + clock.random()), backoffDelayMs(attempt, clock))
    const renewInMs = isBehind || held === undefined ? 0 : held.renewAtMs - clock.now()
    if (renewInMs === Number.POSITIVE_INFINITY) return
    this.#cancelRenewal = clock.after(Math.max(dueInMs, renewInMs, this.#askAtMs - clock.now(), 0), () => {
      this.#isRenewing = true
      void this.#sendRenewed().then((isDone) => {
        this.#isRenewing = false
        if (this.#isConnected && !this.isRefused) this.#renewLink(isDone ? 0 : attempt + 1)
      })
    })
  }

  /** Resolves to false if it must be tried again. */
  async #sendRenewed(): Promise<boolean> {
    let token: string | undefined
    try {
      token = await this.#text()
      if (!this.#isConnected) return true
      if (token === this.#linkToken) return this.#options.clock.now() < (this.#held?.renewAtMs ?? 0)
      // An event stream ends with its token, and the next one begins with the new token.
      const connection = this.#options.connection()
      if (connection.transportName === 'socket-io') await connection.request('authenticate', { token })
      this.#linkToken = token
      this.settle(token, true)
      return true
    } catch (error) {
      const code = error instanceof ChorusError ? error.code : undefined
      if (code === 'unauthenticated' && token !== undefined) this.settle(token, false)
      // The application gives tokens of another user now. A new link finds out who.
      if (code === 'forbidden') this.#options.connection().reconnect()
      return code === 'forbidden'
    }
  }
}

function refused(): ChorusError {
  return new ChorusError('unauthenticated', `unable to sign in; the server refused ${refusalsMax} user tokens in a row`)
}

function noToken(options: { readonly cause?: unknown; readonly retryAfterMs?: number }): ChorusError {
  return new ChorusError('unavailable', 'unable to get a user token; getToken failed', options)
}

/**
 * Returns the time until the token ends, by its claims. The device's clock counts
 * only if it is between `iat` and `exp`. Otherwise it is wrong, and the token counts as new.
 */
export function timeLeftMs(token: string, wallNowMs: number): number {
  try {
    const claims: unknown = JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))
    const { iat, exp } = claims as { readonly iat?: unknown; readonly exp?: unknown }
    if (typeof iat !== 'number' || typeof exp !== 'number' || exp <= iat) return Number.POSITIVE_INFINITY
    const leftMs = exp * 1_000 - wallNowMs
    return leftMs > 0 && wallNowMs >= iat * 1_000 ? leftMs : (exp - iat) * 1_000
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
