/**
 * Notices that this server alone has lost the database, and then asks its clients to move: only once it has been so for a
 * while, and only while another server has said *since then* that it reaches the database. When nobody does, or Redis
 * cannot be asked either, there is no better place to go, and everybody stays.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { OtherServer } from './server-roster.ts'

export const cutOffBounds = {
  lookEveryMs: 1_000,
  /** A shorter trouble is none of the clients' business. */
  patienceMs: 5_000,
  /** All servers lose a database that fails, but do not notice it at once: words from before this much later do not count. */
  noticeMs: 2_500,
  /** Words older than this do not count. */
  freshMs: 4_000,
  /** Whoever has stayed is asked again after this. */
  repeatMs: 30_000,
} as const

type State =
  | { readonly kind: 'well' }
  | { readonly kind: 'without'; readonly sinceMs: number }
  | { readonly kind: 'asked'; readonly sinceMs: number; readonly atMs: number }

export interface CutOffWatchOptions {
  readonly roster: { report(hasDatabase: boolean): Promise<readonly OtherServer[]>; leave(): Promise<void> }
  readonly hasDatabase: () => Promise<boolean>
  /** Asks everybody here to move. */
  readonly askToMove: () => void
  readonly clock: Clock
}

export class CutOffWatch {
  readonly #options: CutOffWatchOptions
  #state: State = { kind: 'well' }
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: CutOffWatchOptions) {
    this.#options = options
    this.#plan()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#options.roster.leave()
  }

  #plan(): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.setTimer(
      () => void this.#look().finally(() => this.#plan()),
      cutOffBounds.lookEveryMs,
    )
  }

  async #look(): Promise<void> {
    const { roster, hasDatabase, clock } = this.#options
    const askedAtMs = clock.nowMs()
    const isWell = await hasDatabase()
    if (this.#isStopped) return
    if (isWell) this.#state = { kind: 'well' }
    else if (this.#state.kind === 'well') this.#state = { kind: 'without', sinceMs: askedAtMs }
    // Redis away too: nobody is known to be better off.
    const others = await roster.report(isWell).catch(() => [])
    this.#decide(others)
  }

  #decide(others: readonly OtherServer[]): void {
    const { clock, askToMove } = this.#options
    const state = this.#state
    if (state.kind === 'well') return
    const nowMs = clock.nowMs()
    const { patienceMs, noticeMs, freshMs, repeatMs } = cutOffBounds
    if (nowMs - state.sinceMs < patienceMs) return
    if (state.kind === 'asked' && nowMs - state.atMs < repeatMs) return
    const atMostMs = Math.min(freshMs, nowMs - state.sinceMs - noticeMs)
    if (!others.some(({ hasDatabase, ageMs }) => hasDatabase && ageMs < atMostMs)) return
    this.#state = { kind: 'asked', sinceMs: state.sinceMs, atMs: nowMs }
    askToMove()
  }
}
