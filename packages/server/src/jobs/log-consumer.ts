/**
 * Follows the change log for one purpose, mail or webhooks (rule OFF1). It handles each change at
 * least once, page by page, in seq order per conversation. Its position is stored in the database.
 * One server at a time holds the consumer's lease and reads; the other servers regularly check
 * whether the lease has expired.
 *
 * The statement that stores the results of a page also checks the lease. So a server that paused
 * and lost its lease stores nothing. After the database epoch changed (a restored backup), the
 * consumer logs a warning and starts again at the current end of the log.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'

export const consumerLimits = {
  /**
   * Lifetime of a lease. If the server that holds it dies, the consumer stops for at most this
   * time.
   */
  leaseMs: 15_000,
  renewEveryMs: 4_000,
  /** Time between two attempts to take the lease, on a server that does not hold it. */
  standbyMs: 3_000,
  /** Time between two reads of the log when no changes are waiting. */
  idleMs: 1_000,
  /** Time between two checks while no receiver needs the log (`isNeeded` returns false). */
  unneededMs: 5_000,
  retryMs: 1_000,
  pageMaxRows: 500,
} as const

export interface Lease {
  readonly token: number
  /**
   * Database history that the position belongs to. Null: no server has followed this log yet, so
   * its position is valid in any history.
   */
  readonly history: string | null
}

export interface LogPage {
  readonly rows: readonly { readonly conversation: string; readonly seq: number; readonly xid: number }[]
  readonly position: number
  readonly more: boolean
}

/** Database operations of a consumer; implemented in log/consumer-log.ts. */
export interface ConsumedLog<Held extends Lease, Page extends LogPage> {
  readonly name: string
  takeLease(ttlMs: number): Promise<Held | undefined>
  renewLease(lease: Held, ttlMs: number): Promise<boolean>
  releaseLease(lease: Held): Promise<void>
  readPosition(): Promise<number>
  begin(lease: Held, history: string, position: number | undefined): Promise<boolean>
  readPage(lease: Held, rowsMax: number): Promise<Page>
  readLag(lease: Held): Promise<{ readonly rows: number; readonly ageMs: number }>
}

export interface LogConsumerOptions<Held extends Lease, Page extends LogPage> {
  readonly log: ConsumedLog<Held, Page>
  /**
   * Stores the results of a page together with the new position. Resolves to `lost` if another
   * server has taken the lease.
   */
  readonly store: (lease: Held, page: Page) => Promise<'stored' | 'lost'>
  /**
   * Returns whether any receiver exists, for example a webhook endpoint. While it returns false,
   * the position moves forward without reading pages.
   */
  readonly isNeeded: () => Promise<boolean>
  /** Returns the current database history: the epoch without its timeline. */
  readonly history: () => string
  readonly clock: Clock
  readonly logger: Logger
  readonly onLag: (rows: number, ageMs: number) => void
  readonly pageMaxRows?: number
}

export class LogConsumer<Held extends Lease, Page extends LogPage> {
  readonly #options: LogConsumerOptions<Held, Page>
  #lease: Held | undefined
  #renewAtMs = 0
  #timer: Timer | undefined
  #turn: Promise<void> | undefined
  #isStopped = false

  constructor(options: LogConsumerOptions<Held, Page>) {
    this.#options = options
  }

  /** Whether this server holds the lease and follows the log. */
  get hasLease(): boolean {
    return this.#lease !== undefined
  }

  start(): void {
    this.#wait(0)
  }

  /** Stops after the current page and releases the lease for the next server. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#turn
    const lease = this.#lease
    this.#lease = undefined
    if (lease !== undefined) await this.#options.log.releaseLease(lease)
  }

  #wait(delayMs: number): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.setTimer(() => {
      this.#turn = this.#takeTurn().then((nextMs) => this.#wait(nextMs))
    }, delayMs)
  }

  /**
   * Handles one page, or tries once to take the lease. Resolves to the time until the next call.
   * Never rejects.
   */
  async #takeTurn(): Promise<number> {
    const { log, logger } = this.#options
    try {
      const lease = await this.#hold()
      if (lease === undefined) return consumerLimits.standbyMs
      const outcome = await this.#consume(lease)
      if (outcome !== 'lost') return outcome
      this.#lose()
      return consumerLimits.standbyMs
    } catch (error) {
      logger.warn({ err: error, consumer: log.name }, 'unable to read the log for its consumer; trying again')
      // Keep the metric of waiting changes up to date. Otherwise a consumer that keeps failing
      // would look as if no change were waiting.
      if (this.#lease !== undefined) await this.#measure(this.#lease).catch(() => undefined)
      return consumerLimits.retryMs
    }
  }

  async #hold(): Promise<Held | undefined> {
    const { log, clock } = this.#options
    const nowMs = clock.nowMs()
    if (this.#lease !== undefined) {
      if (nowMs < this.#renewAtMs) return this.#lease
      if (await log.renewLease(this.#lease, consumerLimits.leaseMs)) {
        this.#renewAtMs = nowMs + consumerLimits.renewEveryMs
        return this.#lease
      }
      this.#lose()
    }
    this.#lease = await log.takeLease(consumerLimits.leaseMs)
    this.#renewAtMs = nowMs + consumerLimits.renewEveryMs
    return this.#lease
  }

  /** Handles and stores one page. Resolves to the milliseconds until the next page. */
  async #consume(lease: Held): Promise<number | 'lost'> {
    const { log, store, isNeeded, history, logger, onLag } = this.#options
    const current = history()
    if (lease.history !== current) {
      if (lease.history !== null)
        logger.warn(
          { consumer: log.name },
          'the database epoch changed: this consumer of the log starts at the current end of the log',
        )
      const position = lease.history === null ? undefined : await log.readPosition()
      if (!(await log.begin(lease, current, position))) return 'lost'
      this.#lease = { ...lease, history: current }
      return 0
    }
    // Read the position before `isNeeded`. Otherwise changes right after a new receiver's
    // subscription could be skipped.
    const position = await log.readPosition()
    if (!(await isNeeded())) {
      onLag(0, 0)
      return (await log.begin(lease, current, position)) ? consumerLimits.unneededMs : 'lost'
    }
    const page = await log.readPage(lease, this.#options.pageMaxRows ?? consumerLimits.pageMaxRows)
    if ((await store(lease, page)) === 'lost') return 'lost'
    if (!page.more) {
      onLag(0, 0)
      return consumerLimits.idleMs
    }
    await this.#measure(lease)
    return 0
  }

  async #measure(lease: Held): Promise<void> {
    const { rows, ageMs } = await this.#options.log.readLag(lease)
    this.#options.onLag(rows, ageMs)
  }

  #lose(): void {
    if (this.#lease !== undefined)
      this.#options.logger.info({ consumer: this.#options.log.name }, 'another server now runs this consumer')
    this.#lease = undefined
    this.#options.onLag(0, 0)
  }
}
