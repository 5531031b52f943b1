/**
 * Detects that only this server has lost the database, and then asks its clients to move to another
 * server. It first waits some seconds. It also requires a report by another server, written since
 * the start of the outage, that this other server reaches the database. Without such a report, or
 * while Redis is unreachable, too, no other server is known to be healthy, and the clients stay.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { OtherServer } from './peer-registry.ts'

export const partitionDetectorTimings = {
  lookEveryMs: 1_000,
  /** Time for which an outage must last before clients are asked to move. */
  patienceMs: 5_000,
  /**
   * Time that another server may need to notice the same outage. A report by it counts only if it
   * was written more than this time after the start of the outage.
   */
  noticeMs: 2_500,
  /** Maximum age of another server's report that counts. */
  freshMs: 4_000,
  /** Time after which clients that have not moved are asked again. */
  repeatMs: 30_000,
} as const

type State =
  | { readonly kind: 'well' }
  | { readonly kind: 'without'; readonly sinceMs: number }
  | { readonly kind: 'asked'; readonly sinceMs: number; readonly atMs: number }

export interface DatabasePartitionDetectorOptions {
  readonly peerRegistry: { report(hasDatabase: boolean): Promise<readonly OtherServer[]>; leave(): Promise<void> }
  readonly hasDatabase: () => Promise<boolean>
  /** Asks all clients of this server to move to another server. */
  readonly askToMove: () => void
  readonly clock: Clock
}

export class DatabasePartitionDetector {
  readonly #options: DatabasePartitionDetectorOptions
  #state: State = { kind: 'well' }
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: DatabasePartitionDetectorOptions) {
    this.#options = options
    this.#plan()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#options.peerRegistry.leave()
  }

  #plan(): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.setTimer(
      () => void this.#look().finally(() => this.#plan()),
      partitionDetectorTimings.lookEveryMs,
    )
  }

  async #look(): Promise<void> {
    const { peerRegistry, hasDatabase, clock } = this.#options
    const askedAtMs = clock.nowMs()
    const isWell = await hasDatabase()
    if (this.#isStopped) return
    if (isWell) this.#state = { kind: 'well' }
    else if (this.#state.kind === 'well') this.#state = { kind: 'without', sinceMs: askedAtMs }
    // If Redis is unreachable, too, no other server is known to be healthy.
    const others = await peerRegistry.report(isWell).catch(() => [])
    this.#decide(others)
  }

  #decide(others: readonly OtherServer[]): void {
    const { clock, askToMove } = this.#options
    const state = this.#state
    if (state.kind === 'well') return
    const nowMs = clock.nowMs()
    const { patienceMs, noticeMs, freshMs, repeatMs } = partitionDetectorTimings
    if (nowMs - state.sinceMs < patienceMs) return
    if (state.kind === 'asked' && nowMs - state.atMs < repeatMs) return
    const atMostMs = Math.min(freshMs, nowMs - state.sinceMs - noticeMs)
    if (!others.some(({ hasDatabase, ageMs }) => hasDatabase && ageMs < atMostMs)) return
    this.#state = { kind: 'asked', sinceMs: state.sinceMs, atMs: nowMs }
    askToMove()
  }
}
