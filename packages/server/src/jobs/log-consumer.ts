/**
 * Follows the log for one purpose (rule OFF1): page by page, at least once, in seq order per conversation, from a position
 * of its own that stands in the database. One server at a time does it; the others ask now and then whether its lease has
 * run out.
 *
 * A page and what follows from it are stored in one statement that checks the lease: a server that was away and comes back
 * stores nothing. In another history (a restored backup) it begins again where the log is, and says so.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'

export const consumerBounds = {
  /** A server that died holds its lease for so long. */
  leaseMs: 15_000,
  renewEveryMs: 4_000,
  /** Those without the lease ask so often. */
  standbyMs: 3_000,
  /** How often the log is looked at when nothing is waiting. */
  idleMs: 1_000,
  /** As long as nobody wants anything of it. */
  unneededMs: 5_000,
  retryMs: 1_000,
  pageMaxRows: 500,
} as const

export interface Lease {
  readonly token: number
  /** Null: nobody has ever followed this log; its position is right in any history. */
  readonly history: string | null
}

export interface LogPage {
  readonly rows: readonly { readonly conversation: string; readonly seq: number; readonly xid: number }[]
  readonly position: number
  readonly more: boolean
}

/** The consumer's side of the database; see store/consumer-log.ts. */
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
  /** Stores what follows from the page together with how far it goes. `lost`: the lease has changed hands. */
  readonly store: (lease: Held, page: Page) => Promise<'stored' | 'lost'>
  /** Does anybody want anything of the log now? While not, the position follows the log without reading it. */
  readonly isNeeded: () => Promise<boolean>
  /** Which history the database shows now. */
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

  /** Does this server follow the log? */
  get hasLease(): boolean {
    return this.#lease !== undefined
  }

  start(): void {
    this.#wait(0)
  }

  /** Ends after the page under way, and leaves the lease to whoever asks next. */
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

  /** One page, or one look at the lease. Resolves to the time until the next; never rejects. */
  async #takeTurn(): Promise<number> {
    const { log, logger } = this.#options
    try {
      const lease = await this.#hold()
      if (lease === undefined) return consumerBounds.standbyMs
      const outcome = await this.#consume(lease)
      if (outcome !== 'lost') return outcome
      this.#lose()
      return consumerBounds.standbyMs
    } catch (error) {
      logger.warn({ err: error, consumer: log.name }, 'unable to follow the log; trying again')
      // What keeps failing must not look as if nothing waited.
      if (this.#lease !== undefined) await this.#measure(this.#lease).catch(() => undefined)
      return consumerBounds.retryMs
    }
  }

  async #hold(): Promise<Held | undefined> {
    const { log, clock } = this.#options
    const nowMs = clock.nowMs()
    if (this.#lease !== undefined) {
      if (nowMs < this.#renewAtMs) return this.#lease
      if (await log.renewLease(this.#lease, consumerBounds.leaseMs)) {
        this.#renewAtMs = nowMs + consumerBounds.renewEveryMs
        return this.#lease
      }
      this.#lose()
    }
    this.#lease = await log.takeLease(consumerBounds.leaseMs)
    this.#renewAtMs = nowMs + consumerBounds.renewEveryMs
    return this.#lease
  }

  /** Milliseconds until the next page. */
  async #consume(lease: Held): Promise<number | 'lost'> {
    const { log, store, isNeeded, history, logger, onLag } = this.#options
    const current = history()
    if (lease.history !== current) {
      if (lease.history !== null)
        logger.warn(
          { consumer: log.name },
          'the database shows another history: this consumer of the log begins where the log is now',
        )
      const position = lease.history === null ? undefined : await log.readPosition()
      if (!(await log.begin(lease, current, position))) return 'lost'
      this.#lease = { ...lease, history: current }
      return 0
    }
    // Asked before, so that nothing that follows somebody's wish is passed over.
    const position = await log.readPosition()
    if (!(await isNeeded())) {
      onLag(0, 0)
      return (await log.begin(lease, current, position)) ? consumerBounds.unneededMs : 'lost'
    }
    const page = await log.readPage(lease, this.#options.pageMaxRows ?? consumerBounds.pageMaxRows)
    if ((await store(lease, page)) === 'lost') return 'lost'
    if (!page.more) {
      onLag(0, 0)
      return consumerBounds.idleMs
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
      this.#options.logger.info({ consumer: this.#options.log.name }, 'another server follows the log by now')
    this.#lease = undefined
    this.#options.onLag(0, 0)
  }
}
