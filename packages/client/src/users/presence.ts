/**
 * Presence of the observed users. The client sends the server one list of all observed users, and
 * sends it again after each reconnect. After 5 s without a connection every user is `unknown`, not
 * `offline`.
 */
import { limits, type Presence } from '@chorus/protocol'
import type { PresenceWatch, PresenceWatcher } from '../model/api-users.ts'
import type { SendRequest } from '../wire/send-request.ts'
import type { Clock } from '../support/clock.ts'
import { type Cell, createCell, createComputedCell, type Observable } from '../support/observable.ts'

/** Time during which changes of the list of observed users are collected into one request. */
export const watchGatherMs = 50
/**
 * Interval for requesting the presence of the observed users while connected by Server-Sent Events:
 * the server does not send presence over them.
 */
export const presencePollMs = 20_000
/** Disconnections shorter than this do not change the shown presence to `unknown`. */
export const unknownAfterMs = 5_000

export interface PresenceOptions {
  readonly request: SendRequest
  readonly clock: Clock
  readonly isConnected: () => boolean
  /** Returns whether the server sends presence updates over this connection. */
  readonly isFollowed: () => boolean
  readonly onError?: (error: unknown) => void
}

export class PresenceSubscriptions implements PresenceWatcher {
  readonly #options: PresenceOptions
  readonly #cells = new Map<string, Cell<Presence>>()
  /** Number of listeners per user, in the order in which users were first observed. */
  readonly #wanted = new Map<string, number>()
  #status: 'online' | 'away' = 'online'
  #cancelSend: (() => void) | undefined
  #cancelUnknown: (() => void) | undefined

  constructor(options: PresenceOptions) {
    this.#options = options
  }

  observe(user: string): Observable<Presence> {
    return this.#cell(user)
  }

  watch(users: readonly string[]): PresenceWatch {
    const cells = users.map((user) => this.#cell(user))
    const presence = createComputedCell<ReadonlyMap<string, Presence>>(
      () => new Map(cells.map((cell) => [cell.get().user, cell.get()])),
      { onError: this.#options.onError },
    )
    const undo = cells.map((cell) => cell.subscribe(presence.invalidate))
    return {
      presence,
      close: () => {
        for (const one of undo.splice(0)) one()
      },
    }
  }

  async setStatus(status: 'online' | 'away'): Promise<void> {
    this.#status = status
    if (this.#options.isConnected()) await this.#options.request('set-status', { status })
  }

  handle(presence: readonly Presence[]): void {
    for (const one of presence) {
      const cell = this.#cells.get(one.user)
      const known = cell?.get()
      if (known?.status !== one.status || known.lastSeen !== one.lastSeen) cell?.set(one)
    }
  }

  /**
   * Sends the status `away` and the list of observed users again, because the server keeps both for
   * one connection only.
   */
  resume(): void {
    this.#cancelUnknown?.()
    this.#cancelUnknown = undefined
    if (this.#status === 'away') this.#options.request('set-status', { status: 'away' }).catch(() => undefined)
    if (this.#wanted.size > 0) this.#sendLater(0)
  }

  disconnected(): void {
    this.#cancelUnknown ??= this.#options.clock.after(unknownAfterMs, () => {
      for (const [user, cell] of this.#cells) cell.set(unknown(user))
    })
  }

  stop(): void {
    this.#cancelSend?.()
    this.#cancelUnknown?.()
    // Reset this field: while it is set, a request counts as planned, so the next start would not
    // send the list of observed users.
    this.#cancelSend = undefined
    this.#cancelUnknown = undefined
    for (const [user, cell] of this.#cells) cell.set(unknown(user))
  }

  #cell(user: string): Cell<Presence> {
    const known = this.#cells.get(user)
    if (known !== undefined) return known
    const cell = createCell<Presence>(unknown(user), {
      onWatched: () => this.#want(user, 1),
      onUnwatched: () => this.#want(user, -1),
      onError: this.#options.onError,
    })
    this.#cells.set(user, cell)
    return cell
  }

  #want(user: string, step: number): void {
    const count = (this.#wanted.get(user) ?? 0) + step
    if (count > 0) this.#wanted.set(user, count)
    else this.#wanted.delete(user)
    if (this.#options.isConnected()) this.#sendLater(watchGatherMs)
  }

  #sendLater(delayMs: number): void {
    if (this.#cancelSend !== undefined && delayMs > 0) return
    this.#cancelSend?.()
    this.#cancelSend = this.#options.clock.after(delayMs, () => {
      this.#cancelSend = undefined
      if (this.#options.isConnected()) this.#send().catch(() => undefined)
    })
  }

  async #send(): Promise<void> {
    const users = [...this.#wanted.keys()].slice(0, limits.listMaxIds)
    const { presence } = await this.#options.request('watch-presence', { users })
    this.handle(presence)
    if (!this.#options.isFollowed() && users.length > 0 && this.#options.isConnected()) this.#sendLater(presencePollMs)
  }
}

function unknown(user: string): Presence {
  return { user, status: 'unknown', lastSeen: null }
}
