/**
 * Erases the users whose erasure has begun (rule ERASE2). One server at a time holds the lease and
 * works; if it ends, another server continues within {@link consumerLimits.leaseMs}. All users
 * proceed in turns, so that a user with a million messages does not delay the next one.
 */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { consumerLimits } from '../jobs/log-consumer.ts'
import { type ConsumerLease, type ConsumerLog, openConsumerLog } from '../log/consumer-log.ts'
import type { Clock, Timer } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import { type ErasureParts, eraseUser } from './erase-user.ts'
import { readErasures } from './erasure-store.ts'

export const erasureTimings = {
  /** Time between two looks for users to erase, and before a failed step is repeated. */
  idleMs: 1_000,
  /** Time after the start of an erasure, in which requests that had begun before it end. */
  settleMs: 5_000,
  /** Time between two steps, in which requests of other users have the database for themselves. */
  pauseMs: 20,
  /** Steps of one user before the next user's turn. */
  stepsPerTurn: 20,
} as const

export interface ErasureWorkerOptions extends ErasureParts {
  readonly database: Database
  readonly clock: Clock
  readonly logger: Logger
  readonly timings?: Partial<{ readonly [Name in keyof typeof erasureTimings]: number }>
}

export class ErasureWorker {
  readonly #options: ErasureWorkerOptions
  readonly #timings: { readonly [Name in keyof typeof erasureTimings]: number }
  readonly #leases: ConsumerLog
  /** Erasures that have begun on this server, each at its next step. */
  readonly #running = new Map<Id, AsyncGenerator<void>>()
  #lease: ConsumerLease | undefined
  #renewAtMs = 0
  #timer: Timer | undefined
  #turn: Promise<void> | undefined
  #isStopped = false

  constructor(options: ErasureWorkerOptions) {
    this.#options = options
    this.#timings = { ...erasureTimings, ...options.timings }
    this.#leases = openConsumerLog(options.database, 'erasure')
  }

  start(): void {
    this.#wait(0)
  }

  /** Stops after the current step and releases the lease for the next server. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#turn
    await this.#release()
  }

  #wait(delayMs: number): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.setTimer(() => {
      this.#turn = this.#takeTurn().then((isBusy) => this.#wait(isBusy ? 0 : this.#timings.idleMs))
    }, delayMs)
  }

  /** Runs some steps of each erasure. Resolves to whether work is left for this server. */
  async #takeTurn(): Promise<boolean> {
    const { database, logger } = this.#options
    try {
      const users = await readErasures(database, this.#timings.settleMs)
      if (users.length === 0) {
        await this.#release()
        return false
      }
      for (const user of users) if (!(await this.#runSteps(user))) return false
      return true
    } catch (error) {
      logger.warn({ err: error }, 'unable to continue the erasure of a user; trying again')
      return false
    }
  }

  /** Runs the next steps of an erasure. Resolves to whether this server may still work. */
  async #runSteps(user: Id): Promise<boolean> {
    const { logger } = this.#options
    const steps = this.#running.get(user) ?? eraseUser(this.#options, user)
    this.#running.set(user, steps)
    try {
      for (let step = 0; step < this.#timings.stepsPerTurn; step++) {
        if (this.#isStopped || !(await this.#hold())) {
          this.#running.clear()
          return false
        }
        const { done } = await steps.next()
        if (done === true) {
          this.#running.delete(user)
          logger.info({ user }, 'a user was erased')
          return true
        }
        await this.#pause(this.#timings.pauseMs)
      }
      return true
    } catch (error) {
      // A generator that threw has ended. The next one begins again and finds what is left.
      this.#running.delete(user)
      throw error
    }
  }

  /** Takes or extends the lease. Resolves to false if another server has it. */
  async #hold(): Promise<boolean> {
    const nowMs = this.#options.clock.nowMs()
    if (this.#lease !== undefined && nowMs < this.#renewAtMs) return true
    const isHeld = this.#lease !== undefined && (await this.#leases.renewLease(this.#lease, consumerLimits.leaseMs))
    if (!isHeld) this.#lease = await this.#leases.takeLease(consumerLimits.leaseMs)
    this.#renewAtMs = nowMs + consumerLimits.renewEveryMs
    return this.#lease !== undefined
  }

  async #release(): Promise<void> {
    const lease = this.#lease
    this.#lease = undefined
    if (lease !== undefined) await this.#leases.releaseLease(lease)
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.setTimer(resolve, delayMs)
    })
  }
}
