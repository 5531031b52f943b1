/**
 * Session of the client: finds out which user is signed in, signs in and out, and stores the
 * account.
 *
 * Guarantee: start, stop, sign-up, sign-in and sign-out run one after another. At most one user is
 * signed in. When another user signs in, no data of the first user is shown any more and all work
 * for that user ends.
 */
import { ChorusError, type Session as ServerSession, type User } from '@chorus/protocol'
import type { Connection } from '../connection/connection.ts'
import type { Requests } from '../connection/requests.ts'
import type { SessionState, SignedOutReason } from '../model/api.ts'
import type { ChatStore } from '../model/store.ts'
import type { Clock } from '../support/clock.ts'
import { Lifetime } from '../support/lifetime.ts'
import { type Cell, createCell, type Observable } from '../support/observable.ts'
import { createSerialQueue } from '../support/serial-queue.ts'
import type { UserCache } from '../users/users.ts'
import { type CookieJar, keepsCookies } from '../wire/cookie-jar.ts'
import type { HttpApi } from '../wire/http-api.ts'
import type { LazyTokens } from './lazy-tokens.ts'
import type { SignedIn } from './signed-in.ts'

/** Maximum time that `stop` and `signOut` wait for the store. */
export const storeMaxMs = 30_000

export interface SessionOptions {
  readonly clock: Clock
  readonly store: ChatStore
  readonly jar: CookieJar
  /** User tokens of the application, which are used instead of cookies. */
  readonly tokens: LazyTokens | undefined
  readonly requests: Requests
  readonly connection: Connection
  readonly users: UserCache
  /** Creates the objects of a signed-in user (`SignedIn`). */
  readonly open: (user: User, life: Lifetime) => SignedIn
  /** Shows the data of the signed-in user, or no data for undefined. */
  readonly show: (signedIn: SignedIn | undefined) => void
  readonly onError: (error: unknown) => void
}

export class Session {
  readonly #options: SessionOptions
  readonly #state: Cell<SessionState>
  #signedIn: SignedIn | undefined
  /** Lifetime of all work until the next `stop`, which ends it and begins a new lifetime. */
  #run: Lifetime
  /**
   * True once the server has confirmed, since the sign-in or start, which user the session belongs
   * to.
   */
  #isKnown = false
  /** Cancels the next attempt to ask the server which user the session belongs to. */
  #cancelFind: () => void = () => undefined
  /** Runs start, stop, sign-up, sign-in and sign-out one after another. */
  readonly #inTurn = createSerialQueue()

  constructor(options: SessionOptions) {
    this.#options = options
    this.#run = new Lifetime(options.clock)
    this.#state = createCell<SessionState>({ status: 'unknown' }, { onError: options.onError })
  }

  get state(): Observable<SessionState> {
    return this.#state
  }

  get signedIn(): SignedIn | undefined {
    return this.#signedIn
  }

  /** Lifetime of all work until the next `stop`, which ends it and begins a new lifetime. */
  get run(): Lifetime {
    return this.#run
  }

  async start(): Promise<void> {
    const run = this.#run
    this.#options.tokens?.loaded?.restart()
    try {
      await this.#inTurn(async () => {
        run.assert('start')
        if (this.#signedIn !== undefined) {
          this.#options.connection.start()
          return
        }
        const account = await this.#options.store.readAccount()
        run.assert('start')
        if (account?.cookies !== undefined) this.#options.jar.restore(account.cookies)
        if (account !== undefined) {
          await this.#enter(account.user, undefined, run)
          return
        }
        // No account is stored, but a browser may still have the session cookie.
        await this.#find(0, run)
      })
    } catch (error) {
      // An error after `stop` is expected, so it is ignored.
      if (!run.isOver) throw error
    }
  }

  stop(): Promise<void> {
    const signedIn = this.#signedIn
    this.#run.end()
    this.#run = new Lifetime(this.#options.clock)
    this.#options.connection.stop()
    if (signedIn !== undefined) this.#dismantle(signedIn)
    else this.#options.users.clear()
    return this.#inTurn(async () => {
      if (signedIn !== undefined) await this.#finish(signedIn.replica.flush())
      await this.#finish(this.#options.store.close())
    })
  }

  async signUp(request: { readonly handle: string; readonly password: string; readonly name: string }): Promise<User> {
    const run = this.#run
    return this.#inTurn(async () => {
      this.#assertPasswords()
      await this.#api(run).call('sign-up', request)
      this.#assertCookie(run)
      const { user, session } = await this.#api(run).call('get-session', {})
      await this.#switchTo(user, session, run)
      return user
    })
  }

  async signIn(request: { readonly handle: string; readonly password: string }): Promise<User> {
    const run = this.#run
    return this.#inTurn(async () => {
      this.#assertPasswords()
      const { user, session } = await this.#api(run).call('sign-in', request)
      this.#assertCookie(run)
      await this.#switchTo(user, session, run)
      return user
    })
  }

  signOut(): Promise<void> {
    const run = this.#run
    return this.#inTurn(async () => {
      try {
        await this.#api(run).call('sign-out', {})
      } catch (error) {
        // `unauthenticated` means that the session has already ended, so the sign-out succeeded.
        // After any other error the session is still valid, so the caller gets the error.
        if (!(error instanceof ChorusError) || error.code !== 'unauthenticated') throw error
      }
      await this.#leave('asked', true)
    })
  }

  /** Shows and stores the changed profile of the signed-in user. */
  async update(user: User): Promise<void> {
    this.#options.users.put([user])
    const state = this.#state.get()
    if (state.status === 'signed-in') this.#state.set({ ...state, user })
    await this.#writeAccount(user)
  }

  /** Stores the cookies after the server changed them. */
  keepCookies(): void {
    const user = this.#signedIn?.user
    if (user !== undefined) this.#writeAccount(user).catch(this.#options.onError)
  }

  /**
   * Runs before a link is opened. Checks which user the session belongs to, and runs a first load
   * if there is no cursor.
   */
  prepare(isAfterFailure: boolean): Promise<void> | undefined {
    const signedIn = this.#signedIn
    if (signedIn === undefined) return undefined
    // Check the session after a failure: a refused WebSocket does not report the reason, but an
    // HTTP request does.
    const isCheckDue = !this.#isKnown || isAfterFailure
    if (!isCheckDue && !signedIn.replica.needsLoad) return undefined
    return this.#prepareNow(signedIn, isCheckDue)
  }

  async #prepareNow(signedIn: SignedIn, isCheckDue: boolean): Promise<void> {
    if (isCheckDue) {
      const { user, session } = await signedIn.api.call('get-session', {})
      signedIn.life.assert('connect')
      if (user.id !== signedIn.user.id) {
        this.giveWay(signedIn, user, session)
        throw new ChorusError('unavailable', 'unable to connect; another user has signed in on this device')
      }
      this.confirm(user, session)
    }
    if (signedIn.replica.needsLoad) await signedIn.replica.firstLoad()
  }

  /** Switches to another user, because another tab has replaced the session cookie. */
  giveWay(signedIn: SignedIn, user: User, session: ServerSession): void {
    const run = this.#run
    this.#inTurn(async () => {
      if (this.#signedIn === signedIn) await this.#switchTo(user, session, run)
    }).catch((error: unknown) => {
      if (!run.isOver) this.#options.onError(error)
    })
  }

  /** Publishes the user and session that the server reported. */
  confirm(user: User, session: ServerSession): void {
    this.#isKnown = true
    this.#options.users.put([user])
    this.#state.set({ status: 'signed-in', user, session })
  }

  /**
   * Signs out on this device after the server ended the session. Pending messages are kept, because
   * the same user may sign in again.
   */
  leaveIfClosed(): void {
    const signedIn = this.#signedIn
    this.#inTurn(async () => {
      if (this.#signedIn === signedIn && this.#options.connection.status.get().state === 'closed')
        await this.#leave(this.#options.tokens?.loaded?.isRefused === true ? 'token-refused' : 'revoked', false)
    }).catch(this.#options.onError)
  }

  #api(life: Lifetime): HttpApi {
    return this.#options.requests.api(life)
  }

  #assertPasswords(): void {
    if (this.#options.tokens !== undefined)
      throw new ChorusError('invalid', 'unable to sign in; this client uses the tokens of getToken')
  }

  /**
   * Throws if the session cookie cannot be kept. Without this check, the next request would fail
   * with `unauthenticated`, as if the password were wrong.
   */
  #assertCookie(run: Lifetime): void {
    run.assert('sign in')
    if (this.#options.jar.header !== undefined || keepsCookies()) return
    throw new ChorusError(
      'unauthenticated',
      'unable to keep the session; this platform stores no cookies, and its fetch hides them from the client',
    )
  }

  /**
   * Asks the server which user the session belongs to. While the server cannot be reached, retries
   * in the background.
   */
  async #find(attempt: number, run: Lifetime): Promise<void> {
    try {
      const { user, session } = await this.#api(run).call('get-session', {})
      await this.#switchTo(user, session, run)
    } catch (error) {
      if (run.isOver) return
      if (!(error instanceof ChorusError)) throw error
      if (error.code === 'unauthenticated') {
        const reason = this.#options.tokens === undefined ? 'asked' : 'token-refused'
        this.#state.set({ status: 'signed-out', reason })
      } else {
        const delayMs = Math.min(30_000, 1_000 * 2 ** attempt) * (0.5 + run.clock.random() / 2)
        this.#cancelFind()
        this.#cancelFind = run.clock.after(Math.max(delayMs, error.retryAfterMs ?? 0), () => {
          this.#inTurn(async () => {
            if (this.#state.get().status === 'unknown' && this.#signedIn === undefined)
              await this.#find(attempt + 1, run)
          }).catch(this.#options.onError)
        })
      }
    }
  }

  async #switchTo(user: User, session: ServerSession, run: Lifetime): Promise<void> {
    run.assert('sign in')
    const before = this.#signedIn
    if (before !== undefined) {
      this.#options.connection.stop()
      this.#dismantle(before)
      // Delete the local copy of the previous user from the device. Their pending messages stay
      // until they sign in again.
      if (before.user.id !== user.id) await this.#finish(this.#options.store.clear(before.user.id, { outbox: false }))
      else await this.#finish(before.replica.flush())
    }
    await this.#enter(user, session, run)
    this.#isKnown = true
    await this.#writeAccount(user)
  }

  /** Loads the stored data of this user and connects. */
  async #enter(user: User, session: ServerSession | undefined, run: Lifetime): Promise<void> {
    run.assert('sign in')
    this.#cancelFind()
    const signedIn = this.#options.open(user, new Lifetime(this.#options.clock))
    this.#signedIn = signedIn
    this.#options.users.put([user])
    await signedIn.load()
    // The client may have been stopped while the store was read.
    signedIn.life.assert('sign in')
    this.#options.show(signedIn)
    this.#state.set({ status: 'signed-in', user, ...(session && { session }) })
    this.#options.connection.start()
  }

  /**
   * Ends a sign-in synchronously: after this call no data of its user is shown and no work for that
   * user continues.
   */
  #dismantle(signedIn: SignedIn): void {
    signedIn.end()
    this.#options.users.clear()
    this.#signedIn = undefined
    this.#isKnown = false
    this.#state.set({ status: 'unknown' })
    this.#options.show(undefined)
  }

  async #leave(reason: SignedOutReason, isForgettingOutbox: boolean): Promise<void> {
    const signedIn = this.#signedIn
    this.#options.connection.stop()
    if (signedIn !== undefined) this.#dismantle(signedIn)
    this.#state.set({ status: 'signed-out', reason })
    await this.#finish(this.#options.store.writeAccount(undefined))
    if (signedIn !== undefined)
      await this.#finish(this.#options.store.clear(signedIn.user.id, { outbox: isForgettingOutbox }))
  }

  /** Waits at most 30 s for an operation of the store. Passes errors to `onError`. */
  async #finish(work: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.after(storeMaxMs, () => {
        this.#options.onError(
          new ChorusError('unavailable', 'unable to store data on this device; the store does not respond'),
        )
        resolve()
      })
      work.catch(this.#options.onError).finally(() => {
        cancel()
        resolve()
      })
    })
  }

  async #writeAccount(user: User): Promise<void> {
    const isKeeping = this.#options.jar.header !== undefined
    await this.#options.store
      .writeAccount({ user, ...(isKeeping && { cookies: this.#options.jar.cookies }) })
      .catch(this.#options.onError)
  }
}
