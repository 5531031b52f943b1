/**
 * Posts the rows of the outbox through the server API. Any number of relays may run, in any of the
 * integrator's processes.
 *
 * Guarantees (rule OUT1): every committed row is posted exactly once, because the row's id is the
 * `clientId` of its message: a row that was posted and not yet removed, by a relay that was killed,
 * gets the first answer again. The rows of a conversation are posted in the order of their numbers,
 * one after another, by the relay that holds the conversation's lane. A row that can never succeed
 * becomes a dead letter, and holds back no other row.
 *
 * A relay renews the leases of its lanes every second, also during a slow post. So the lanes of a
 * killed relay are free after `leaseMs`. A relay that was frozen for longer may post a row at the
 * same time as its successor: both post in the same order and wait for each answer, so the second
 * post of a row stores nothing, and no row overtakes an earlier one.
 *
 * The relay looks for committed rows every `pollMs`. It does not read a position, so a transaction
 * that stays open holds back nothing but its own rows.
 */
import type { ChorusClient } from '../api/chorus-client.ts'
import type { CardContent, Subject } from '../model/objects.ts'
import { wait } from '../support/delays.ts'
import type { QueryClient } from './database.ts'
import { judgeFailure, type Verdict } from './judge-failure.ts'
import { type Hold, OutboxRows, rowBounds, type WaitingRow } from './outbox-rows.ts'

export const relayBounds = {
  pollMs: 100,
  /** Longest time between two looks at the database while it fails. */
  databaseBackoffMaxMs: 5_000,
  timeoutMs: 5_000,
  /** Lease of a lane: how long the lanes of a killed relay wait for another one. */
  leaseMs: 3_000,
  /** Time between two renewals of all leases. Two may fail before a lease ends. */
  renewEveryMs: 1_000,
  concurrency: 8,
  giveUpAfterMs: 3 * 86_400_000,
  /** Time after which a lane with more rows is given back, so that other lanes get their turn. */
  sliceMs: 2_000,
  pruneEveryMs: 60_000,
  stopTimeoutMs: 10_000,
  /** Subjects whose conversation is remembered. */
  subjectsMax: 10_000,
} as const

/** An event that an operator should see. */
export type OutboxProblem =
  /** The row was moved to `chorus_outbox_dead`. */
  | {
      readonly kind: 'dead-letter'
      readonly id: string
      readonly conversation: string | null
      readonly subject: Subject | null
      readonly reason: string
    }
  /** A row failed and is tried again. */
  | { readonly kind: 'delayed'; readonly id: string; readonly reason: string; readonly delayMs: number }
  /** No row can be posted. Reported once until the next success. */
  | {
      readonly kind: 'paused'
      readonly cause: 'unreachable' | 'refused-key' | 'rate-limited'
      readonly reason: string
    }
  /** The database with the outbox failed. */
  | { readonly kind: 'database'; readonly error: unknown }

export interface OutboxRelayOptions {
  /** Database with the outbox: a `pg.Pool`, a PGlite, or any client with `query(text, values)`. */
  readonly pool: QueryClient
  /** Client of the server API, made with a key that has the scope `write`. */
  readonly client: Pick<ChorusClient, 'messages' | 'subjects'>
  /** Time between two looks at the table. Default: 100 ms. */
  readonly pollMs?: number
  /** Conversations that are posted to at once. Default: 8. */
  readonly concurrency?: number
  /** Time for one post. Default: 5 s. */
  readonly timeoutMs?: number
  /** Age at which a row that keeps failing becomes a dead letter. Default: 3 days. */
  readonly giveUpAfterMs?: number
  /** Called with problems. Default: a process warning for all but `delayed`. */
  readonly onProblem?: (problem: OutboxProblem) => void
}

export interface OutboxRelay {
  /** Looks for rows now. To be called after a commit, if even `pollMs` is too long. */
  wake(): void
  /**
   * Ends the relay: it takes no more rows, finishes the posts in flight, and gives its lanes back.
   * After `timeoutMs` (10 s) it aborts the posts; another relay then repeats them without harm.
   */
  stop(options?: { readonly timeoutMs?: number }): Promise<void>
}

/** Starts a relay, which runs until `stop()`. */
export function startOutboxRelay(options: OutboxRelayOptions): OutboxRelay {
  if (typeof (options.pool as Partial<QueryClient> | undefined)?.query !== 'function')
    throw new TypeError('unable to start outbox relay; pool must have a function query(text, values)')
  const relay = new Relay(options)
  return { wake: () => relay.wake(), stop: (stopOptions) => relay.stop(stopOptions?.timeoutMs) }
}

const nothing = { ids: [], error: '', counts: false } as const

class Relay {
  readonly #rows: OutboxRows
  readonly #client: OutboxRelayOptions['client']
  readonly #timeoutMs: number
  readonly #pollMs: number
  readonly #concurrency: number
  readonly #giveUpAfterMs: number
  readonly #onProblem: (problem: OutboxProblem) => void
  readonly #running = new Set<Promise<void>>()
  /** Lanes of the running work. */
  readonly #held = new Set<Hold>()
  /** Claimed lanes that wait for one of the running ones to end: fewer than `concurrency`. */
  readonly #claimed: Hold[] = []
  readonly #conversations = new Map<string, string>()
  readonly #abort = new AbortController()
  #isStopping = false
  #pausedUntilMs = 0
  /** Pauses since the last success. */
  #pauses = 0
  #interrupt: (() => void) | undefined
  #isWoken = false
  readonly #renewals: NodeJS.Timeout
  #isRenewing = false
  readonly #ended: Promise<void>
  #stopped: Promise<void> | undefined

  constructor(options: OutboxRelayOptions) {
    const { timeoutMs = relayBounds.timeoutMs } = options
    this.#rows = new OutboxRows(options.pool, relayBounds.leaseMs)
    this.#client = options.client
    this.#timeoutMs = timeoutMs
    this.#pollMs = options.pollMs ?? relayBounds.pollMs
    this.#concurrency = options.concurrency ?? relayBounds.concurrency
    this.#giveUpAfterMs = options.giveUpAfterMs ?? relayBounds.giveUpAfterMs
    this.#onProblem = options.onProblem ?? warnOfProblem
    this.#renewals = setInterval(() => void this.#renewLeases(), relayBounds.renewEveryMs)
    this.#ended = this.#run()
  }

  wake(): void {
    this.#isWoken = true
    this.#interrupt?.()
  }

  stop(timeoutMs: number = relayBounds.stopTimeoutMs): Promise<void> {
    this.#stopped ??= this.#stopWithin(timeoutMs)
    return this.#stopped
  }

  async #stopWithin(timeoutMs: number): Promise<void> {
    this.#isStopping = true
    this.wake()
    const timer = setTimeout(() => this.#abort.abort(new Error('the relay was stopped')), timeoutMs)
    await this.#ended
    // A lane that cannot be given back is free when its lease ends.
    await Promise.all([...this.#running, this.#releaseClaimed().catch(() => undefined)])
    clearTimeout(timer)
    clearInterval(this.#renewals)
  }

  /** Claims lanes and starts their work, until the relay is stopped. */
  async #run(): Promise<void> {
    let after = ''
    let failures = 0
    let prunedMs = performance.now()
    while (!this.#isStopping) {
      try {
        const pausedMs = this.#pausedUntilMs - performance.now()
        if (pausedMs > 0) {
          await this.#releaseClaimed()
          await this.#sleep(pausedMs, false)
          continue
        }
        if (performance.now() - prunedMs > relayBounds.pruneEveryMs) {
          prunedMs = performance.now()
          await this.#rows.prune()
        }
        this.#isWoken = false
        this.#startClaimed()
        if (this.#running.size < this.#concurrency) {
          // More than can start now: otherwise each lane would cost a claim of its own.
          const { holds, nextAfter } = await this.#rows.claim(after, this.#concurrency)
          after = nextAfter
          this.#claimed.push(...holds)
          this.#startClaimed()
          // A claim that found nothing and did not reach the last lane continues at once.
          if (this.#running.size < this.#concurrency && (holds.length > 0 || nextAfter !== '')) continue
        }
        failures = 0
        await this.#sleep(this.#pollMs, true)
      } catch (error) {
        if (failures === 0) this.#report({ kind: 'database', error })
        failures += 1
        await this.#sleep(Math.min(relayBounds.databaseBackoffMaxMs, this.#pollMs * 2 ** Math.min(failures, 10)), false)
      }
    }
  }

  #startClaimed(): void {
    while (this.#running.size < this.#concurrency) {
      const hold = this.#claimed.shift()
      if (hold === undefined) return
      this.#start(hold)
    }
  }

  async #releaseClaimed(): Promise<void> {
    await Promise.all(this.#claimed.splice(0).map((hold) => this.#rows.release(hold, [])))
  }

  #start(hold: Hold): void {
    const posted: string[] = []
    const work = this.#postLane(hold, posted).catch(async (error: unknown) => {
      this.#report({ kind: 'database', error })
      // If this fails too, the lease ends by itself. The posted rows are then posted again, and get
      // their first answer.
      await this.#rows.release(hold, posted).catch(() => undefined)
    })
    this.#running.add(work)
    this.#held.add(hold)
    void work.finally(() => {
      this.#running.delete(work)
      this.#held.delete(hold)
      this.wake()
    })
  }

  /**
   * Posts the rows of a held lane until it is empty, fails, or its time is over. `posted` has the
   * rows that are still to be removed.
   */
  async #postLane(hold: Hold, posted: string[]): Promise<void> {
    const startedMs = performance.now()
    for (let round = 0; ; round += 1) {
      const rows = await this.#rows.read(hold)
      const [head] = rows
      if (head === undefined) {
        // Its rows wait for a subject. Without the delay, this lane would be claimed at once again.
        return round === 0 ? this.#rows.postpone(hold, [], nothing, this.#pollMs) : this.#rows.release(hold, posted)
      }
      if (head.conversation === null) return this.#resolve(hold, head, rows)
      for (const row of rows) {
        if (this.#isStopping) return this.#rows.release(hold, posted)
        if (!(await this.#keeps(hold))) return this.#rows.remove(posted)
        const failure = await this.#post(row)
        if (failure === undefined) posted.push(row.id)
        else if (failure.kind === 'released') return this.#rows.release(hold, posted)
        else if (failure.kind === 'dead') await this.#bury(hold, [row], failure.reason)
        else return this.#postpone(hold, posted, [row], failure)
      }
      const isEmpty = rows.length < rowBounds.batchRows
      if (isEmpty || performance.now() - startedMs > relayBounds.sliceMs) return this.#rows.release(hold, posted)
      await this.#rows.remove(posted)
      posted.length = 0
    }
  }

  /** Renews the leases of all lanes. A failure shows when a lane checks its lease itself. */
  async #renewLeases(): Promise<void> {
    const holds = [...this.#held, ...this.#claimed]
    if (this.#isRenewing || holds.length === 0) return
    this.#isRenewing = true
    await this.#rows.renewAll(holds).catch(() => undefined)
    this.#isRenewing = false
  }

  /**
   * Checks the lease before a post. Renews it if the renewals are late, as they are in a process
   * that was frozen. Returns false if another relay has the lane.
   */
  async #keeps(hold: Hold): Promise<boolean> {
    const leftMs = hold.untilMs - performance.now()
    return leftMs > relayBounds.renewEveryMs || this.#rows.renew(hold)
  }

  async #post(row: WaitingRow): Promise<Verdict | { readonly kind: 'released' } | undefined> {
    const { id, conversation, sender, text, card, bytes } = row
    if (bytes > rowBounds.rowMaxBytes) {
      return { kind: 'dead', reason: `too-large: unable to post; the row has ${bytes} bytes` }
    }
    const content = {
      clientId: id,
      ...(text !== null && { text }),
      ...(card !== null && { card: JSON.parse(card) as CardContent }),
      ...(sender !== null && { as: sender }),
    }
    try {
      await this.#client.messages.send(conversation ?? '', content, this.#callOptions())
      this.#pauses = 0
      return undefined
    } catch (error) {
      return this.#judge(error, row)
    }
  }

  /** Looks up the conversation of a subject and moves its rows there. */
  async #resolve(hold: Hold, head: WaitingRow, rows: readonly WaitingRow[]): Promise<void> {
    const subject = { type: head.subject_type ?? '', id: head.subject_id ?? '' }
    if (/^[.]{0,2}$/.test(subject.type) || /^[.]{0,2}$/.test(subject.id)) {
      // Written without postInTransaction: no address has such a part.
      await this.#bury(hold, rows, 'invalid: unable to post; the subject needs a type and an id that are not . or ..')
      return this.#rows.release(hold, [])
    }
    const known = this.#conversations.get(hold.lane)
    try {
      const conversation =
        known ?? (await this.#client.subjects.getConversation(subject, this.#callOptions())).conversation.id
      this.#remember(hold.lane, conversation)
      await this.#rows.resolve(hold, conversation)
      this.#pauses = 0
    } catch (error) {
      const failure = this.#judge(error, head)
      if (failure.kind === 'released') return this.#rows.release(hold, [])
      if (failure.kind !== 'dead') return this.#postpone(hold, [], rows, failure)
      await this.#bury(hold, rows, failure.reason)
      await this.#rows.release(hold, [])
    }
  }

  #callOptions(): { readonly attemptsMax: number; readonly timeoutMs: number; readonly signal: AbortSignal } {
    // The relay retries itself: a failed row waits in the database, not in this process.
    return { attemptsMax: 1, timeoutMs: this.#timeoutMs, signal: this.#abort.signal }
  }

  #judge(error: unknown, { attempts, age_ms: ageMs }: WaitingRow): Verdict | { readonly kind: 'released' } {
    if (this.#abort.signal.aborted) return { kind: 'released' }
    return judgeFailure(error, { attempts, ageMs }, this.#pauses, this.#giveUpAfterMs)
  }

  async #bury(hold: Hold, rows: readonly WaitingRow[], reason: string): Promise<void> {
    await this.#rows.bury(
      hold,
      rows.map(({ id }) => id),
      reason,
    )
    for (const { id, conversation, subject_type: type, subject_id } of rows) {
      const subject = type === null || subject_id === null ? null : { type, id: subject_id }
      if (subject !== null) this.#conversations.delete(`${subject.type}/${subject.id}`)
      this.#report({ kind: 'dead-letter', id, conversation, subject, reason })
    }
  }

  async #postpone(
    hold: Hold,
    posted: readonly string[],
    rows: readonly WaitingRow[],
    failure: Exclude<Verdict, { kind: 'dead' }>,
  ): Promise<void> {
    const { reason, delayMs } = failure
    switch (failure.kind) {
      case 'lane-waits':
        for (const { id } of rows) this.#report({ kind: 'delayed', id, reason, delayMs })
        break
      case 'relay-pauses':
        // Lanes that were already working report the same failure: one pause covers all of them.
        if (performance.now() >= this.#pausedUntilMs) {
          this.#pauses += 1
          this.#pausedUntilMs = performance.now() + delayMs
          if (this.#pauses === 1) this.#report({ kind: 'paused', cause: failure.cause, reason })
        }
        break
    }
    const ids = rows.map(({ id }) => id)
    const counts = failure.kind === 'lane-waits' || failure.cause === 'unreachable'
    await this.#rows.postpone(hold, posted, { ids, error: reason, counts }, delayMs)
  }

  #remember(lane: string, conversation: string): void {
    this.#conversations.delete(lane)
    this.#conversations.set(lane, conversation)
    if (this.#conversations.size <= relayBounds.subjectsMax) return
    const [oldest] = this.#conversations.keys()
    if (oldest !== undefined) this.#conversations.delete(oldest)
  }

  /** Waits, until the relay is stopped or, if `isWakeable`, until there may be work. */
  async #sleep(ms: number, isWakeable: boolean): Promise<void> {
    if (this.#isStopping || (isWakeable && this.#isWoken)) return
    const interrupted = new AbortController()
    this.#interrupt = () => {
      if (isWakeable || this.#isStopping) interrupted.abort()
    }
    await wait(ms, interrupted.signal).catch(() => undefined)
    this.#interrupt = undefined
  }

  #report(problem: OutboxProblem): void {
    try {
      this.#onProblem(problem)
    } catch (error) {
      // An error in the callback must not stop the relay.
      process.emitWarning(`onProblem of the outbox relay failed: ${String(error)}`, 'ChorusOutboxWarning')
    }
  }
}

/** Shows problems that need an operator when the integrator has no callback. */
function warnOfProblem(problem: OutboxProblem): void {
  switch (problem.kind) {
    case 'delayed':
      return
    case 'dead-letter':
      process.emitWarning(`row ${problem.id} is a dead letter; ${problem.reason}`, 'ChorusOutboxWarning')
      return
    case 'paused':
      process.emitWarning(`nothing is posted for a while; ${problem.reason}`, 'ChorusOutboxWarning')
      return
    case 'database':
      process.emitWarning(`the database of the outbox failed; ${String(problem.error)}`, 'ChorusOutboxWarning')
  }
}
