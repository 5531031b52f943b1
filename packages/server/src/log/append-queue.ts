/**
 * Queue of rows (messages and operations) to append to the log. Each queue uses one database
 * connection, called a lane, and has at most one batch in flight (rules ACK1, ACK2, ORD1, BAD1).
 * Rows that arrive during a commit are collected for the next batch. Each row is answered by its
 * deadline.
 *
 * Within a batch, the rows of each conversation are ordered: new messages first, then other
 * operations, then at most one change of membership or role. Rows that do not fit this order wait
 * for the next batch (rule ACL1).
 *
 * Errors. A batch that fails because of invalid data is run again, one row at a time. Temporary
 * faults are retried until the deadline of each row. After a lost connection, the server retries to
 * find out whether the batch was stored: the unique key of a stored message then returns its row.
 * At the deadline a row is refused: `unavailable` if it was certainly not stored, `unknown`
 * otherwise.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { ChorusError, type Id } from '@chorus/protocol'
import { DatabaseError, classifyDatabaseError } from '../database/database-errors.ts'
import type { Lane, Statement } from '../database/database.ts'
import { type Appended, type AppendedRow, refusal, refusalOfRow, settle, type UnsettledRow } from './append-outcome.ts'
import { type LogRow, toStatement } from './append-statement.ts'
import { changesMembers } from './operations.ts'

export const appendQueueLimits = {
  /** Maximum number of rows in one batch. */
  batchRowsMax: 500,
  /** Maximum rows waiting in one queue. Further rows are refused as `unavailable`. */
  waitingRowsMax: 20_000,
  /** Maximum time from a row's arrival to its answer. */
  deadlineMs: 1_900,
  /** Time between two attempts after a temporary fault. */
  retryPauseMs: 50,
} as const

/**
 * Limits on the weight of the rows in one queue. The creator of the queue chooses the unit, for
 * example characters of text.
 */
export interface WeightLimits {
  /** Maximum weight of one batch. The row that passes this limit is the last of its batch. */
  readonly batchWeightMax: number
  /** Maximum weight of the waiting rows. Further rows are refused as `unavailable`. */
  readonly waitingWeightMax: number
}

/** Observer that measures committed and failed batches. */
export interface AppendObserver {
  batchCommitted(rows: number, durationMs: number): void
  batchFailed(error: DatabaseError): void
}

interface Waiting extends UnsettledRow {
  readonly conversation: Id
  /** Size of the row, in the unit of {@link WeightLimits}. */
  readonly weight: number
  readonly deadlineAtMs: number
}

type Phase = 'sends' | 'operations' | 'closed'

export class AppendQueue {
  readonly #lane: Lane
  readonly #observer: AppendObserver
  readonly #nowMs: () => number
  readonly #weights: WeightLimits
  #waiting: Waiting[] = []
  #waitingWeight = 0
  #running: Promise<void> | undefined

  constructor(lane: Lane, observer: AppendObserver, nowMs: () => number, weights: WeightLimits) {
    this.#lane = lane
    this.#observer = observer
    this.#nowMs = nowMs
    this.#weights = weights
  }

  get waitingRows(): number {
    return this.#waiting.length
  }

  add(row: LogRow, conversation: Id, weight: number): Promise<Appended<string>> {
    if (
      this.#waiting.length >= appendQueueLimits.waitingRowsMax ||
      this.#waitingWeight >= this.#weights.waitingWeightMax
    ) {
      return Promise.reject(
        new ChorusError('unavailable', 'unable to store the change; too many changes are waiting for the database', {
          retryAfterMs: 1_000,
        }),
      )
    }
    return new Promise((resolve, reject) => {
      const deadlineAtMs = this.#nowMs() + appendQueueLimits.deadlineMs
      this.#waiting.push({ row, conversation, weight, deadlineAtMs, resolve, reject })
      this.#waitingWeight += weight
      this.#running ??= this.#run()
    })
  }

  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async #run(): Promise<void> {
    // Starts the first batch one microtask later, so that it includes all rows that the current
    // code adds without waiting.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      await this.#commit(this.#gather(), false)
    }
    this.#running = undefined
  }

  /** Takes the next batch from the front of the queue. The remaining rows keep their order. */
  #gather(): Waiting[] {
    const nowMs = this.#nowMs()
    const phases = new Map<Id, Phase>()
    const clientIds = new Set<Id>()
    const batch: Waiting[] = []
    const rest: Waiting[] = []
    let weight = 0
    let index = 0
    for (
      ;
      index < this.#waiting.length &&
      batch.length < appendQueueLimits.batchRowsMax &&
      weight < this.#weights.batchWeightMax;
      index++
    ) {
      const waiting = this.#waiting[index] as Waiting
      if (waiting.deadlineAtMs <= nowMs) {
        this.#waitingWeight -= waiting.weight
        waiting.reject(refusal('unavailable'))
        continue
      }
      const { row } = waiting
      const next = nextPhase(phases.get(waiting.conversation) ?? 'sends', row)
      // A batch contains each clientId once: a repeated message must find the stored row of the
      // first one.
      const isRepeated = row.kind === 'send' && clientIds.has(row.send.clientId)
      if (next === undefined || isRepeated) {
        phases.set(waiting.conversation, 'closed')
        rest.push(waiting)
      } else {
        phases.set(waiting.conversation, next)
        if (row.kind === 'send') clientIds.add(row.send.clientId)
        batch.push(waiting)
        weight += waiting.weight
        this.#waitingWeight -= waiting.weight
      }
    }
    this.#waiting = rest.length === 0 && index === this.#waiting.length ? [] : rest.concat(this.#waiting.slice(index))
    return batch
  }

  /**
   * Stores these rows, or rejects each one by its deadline. `mayBeStored` is true when an earlier
   * attempt lost its connection, so it may have stored them.
   */
  async #commit(batch: readonly Waiting[], mayBeStored: boolean): Promise<void> {
    let rows = batch
    for (;;) {
      rows = this.#answerExpired(rows, mayBeStored ? 'unknown' : 'unavailable')
      if (rows.length === 0) return
      const startedAtMs = this.#nowMs()
      const lastDeadlineAtMs = Math.max(...rows.map((waiting) => waiting.deadlineAtMs))
      const expiry = this.#answerInFlight(rows)
      let error: DatabaseError
      try {
        const appended = await this.#lane.run<AppendedRow>(
          this.#statementOf(rows),
          Math.max(1, lastDeadlineAtMs - startedAtMs),
        )
        this.#observer.batchCommitted(rows.length, this.#nowMs() - startedAtMs)
        settle(rows, appended, mayBeStored)
        return
      } catch (thrown) {
        error = classifyDatabaseError(thrown, true)
      } finally {
        clearTimeout(expiry.timer)
      }
      this.#observer.batchFailed(error)
      switch (error.kind) {
        case 'data':
        case 'bug':
          if (rows.length > 1) {
            // Retries row by row, so that an invalid row does not fail the other rows of the batch
            // (rule BAD1).
            for (const waiting of rows) await this.#commit([waiting], mayBeStored)
            return
          }
          for (const waiting of rows) waiting.reject(refusalOfRow(error, mayBeStored))
          return
        case 'lost':
          mayBeStored = true
          break
        case 'retryable':
        case 'refused':
          break
      }
      if (this.#nowMs() + appendQueueLimits.retryPauseMs >= lastDeadlineAtMs) {
        for (const waiting of rows) waiting.reject(refusal(mayBeStored ? 'unknown' : 'unavailable', error))
        return
      }
      await pause(appendQueueLimits.retryPauseMs)
    }
  }

  #statementOf(rows: readonly Waiting[]): Statement {
    try {
      return toStatement(rows)
    } catch (thrown) {
      // The statement never reached the database, so this error must not count as a lost
      // connection.
      throw new DatabaseError('bug', thrown)
    }
  }

  /** Rejects the rows whose deadline has passed, and returns the other rows. */
  #answerExpired(rows: readonly Waiting[], code: 'unavailable' | 'unknown'): readonly Waiting[] {
    const nowMs = this.#nowMs()
    const expired = rows.filter(({ deadlineAtMs }) => deadlineAtMs <= nowMs)
    if (expired.length === 0) return rows
    for (const waiting of expired) waiting.reject(refusal(code))
    return rows.filter(({ deadlineAtMs }) => deadlineAtMs > nowMs)
  }

  /**
   * Rejects rows at their deadlines while their statement still runs. So the deadline of a row does
   * not depend on newer rows of its batch.
   */
  #answerInFlight(rows: readonly Waiting[]): { timer: NodeJS.Timeout | undefined } {
    const expiry: { timer: NodeJS.Timeout | undefined } = { timer: undefined }
    const arm = (inFlight: readonly Waiting[]): void => {
      if (inFlight.length === 0) return
      const nextAtMs = Math.min(...inFlight.map(({ deadlineAtMs }) => deadlineAtMs))
      expiry.timer = setTimeout(
        () => arm(this.#answerExpired(inFlight, 'unknown')),
        Math.max(1, nextAtMs - this.#nowMs()),
      )
    }
    arm(rows)
    return expiry
  }
}

/**
 * Returns the phase of the batch after adding this row: new messages, then operations, then one
 * change of membership. Returns undefined if the row must wait for the next batch.
 */
function nextPhase(phase: Phase, row: LogRow): Phase | undefined {
  switch (phase) {
    case 'closed':
      return undefined
    case 'operations':
      if (row.kind === 'send') return undefined
      return changesMembers(row.operation) ? 'closed' : 'operations'
    case 'sends':
      if (row.kind === 'send') return 'sends'
      return changesMembers(row.operation) ? 'closed' : 'operations'
  }
}
