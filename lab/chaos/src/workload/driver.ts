/**
 * Runs the workload of a chaos run, in a process of its own (a driver). Clients chat in busy rooms
 * and direct conversations, edit, react, read, join and leave. The driver also revokes sessions,
 * and restarts and kills clients. Everything is drawn from the seed and recorded.
 *
 * Guarantee: the number of waiting messages is limited. A bug in the driver ends the run, so it
 * cannot look like a fault of the servers.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Actor } from '../clients/actor.ts'
import { CursorLoot, HostileClient } from '../clients/hostile-client.ts'
import { RawActor } from '../clients/raw-actor.ts'
import type { Recorder } from '../clients/recorder.ts'
import { createSocketIoWire } from '../clients/socket-io-wire.ts'
import { createSseWire } from '../clients/sse-wire.ts'
import { Random } from '../random/random.ts'
import { Activity } from './activity.ts'
import { Churn } from './churn.ts'
import { readFinally } from './final-reads.ts'
import type { DriverJob, DriverStatus, Top } from './job.ts'
import { Seats } from './seats.ts'

const tickMs = 20
const burstTickMs = 10
const churnEveryMs = 700
const restartEveryMs = 1_500
const revokeEveryMs = 6_000
const hostileClients = 2
const awaitEveryMs = 20

export class Driver {
  readonly #job: DriverJob
  readonly #recorder: Recorder
  readonly #onProblem: (text: string) => void
  readonly #random: Random
  readonly #seats: Seats
  readonly #activity: Activity
  readonly #churn: Churn
  readonly #hostile: HostileClient[] = []
  readonly #timers: NodeJS.Timeout[] = []
  #perSecond = 0
  #owed = 0
  #isBursting = false

  constructor(job: DriverJob, recorder: Recorder, onProblem: (text: string) => void) {
    this.#job = job
    this.#recorder = recorder
    this.#onProblem = onProblem
    this.#random = new Random(job.seed)
    this.#seats = new Seats(job, recorder, onProblem)
    const parts = {
      job,
      seats: this.#seats,
      recorder,
      random: this.#random,
      track: (running: Promise<void>) => this.#track(running),
    }
    this.#churn = new Churn(parts)
    this.#activity = new Activity({
      ...parts,
      isRemoved: (conversation, user) => this.#churn.isRemoved(conversation, user),
    })
  }

  /** Starts all clients of this process. */
  async start(): Promise<void> {
    await Promise.all(this.#seats.list.map(({ actor }) => actor.start()))
    this.#startHostileClients()
    this.#every(tickMs, () => this.#tick())
    this.#every(burstTickMs, () => {
      if (this.#isBursting) this.#activity.fillWindows()
    })
    this.#every(churnEveryMs, () => this.#churn.changeRandomMember())
    this.#every(restartEveryMs, () => this.#churn.restartRandomClient())
    this.#every(revokeEveryMs, () => this.#churn.revokeRandomSession())
  }

  /**
   * Starts the hostile clients. They use accounts of members, and the run does not wait until they
   * have caught up.
   */
  #startHostileClients(): void {
    const loot = new CursorLoot()
    for (const { plan } of this.#seats.list.slice(0, hostileClients)) {
      const session = this.#seats.takeSession(plan.person)
      if (session === undefined) continue
      const url = this.#seats.front(plan.front)
      const name = `hostile ${plan.name}`
      const client = new HostileClient({
        name,
        url,
        person: this.#seats.person(plan.person),
        session,
        conversations: this.#job.conversations.map(({ id }) => id),
        recorder: this.#recorder,
        random: this.#random.branch(name),
        wires: [createSocketIoWire(url, 'websocket'), createSseWire(url)],
        loot,
      })
      this.#hostile.push(client)
      client.start()
    }
  }

  set rate(perSecond: number) {
    this.#perSecond = perSecond
  }

  set isBursting(isOn: boolean) {
    this.#isBursting = isOn
  }

  set isChurning(isOn: boolean) {
    this.#churn.isOn = isOn
  }

  get status(): DriverStatus {
    const { acknowledgedSends, deliveries, infos, fails } = this.#recorder
    const actors = this.#seats.actors()
    return {
      acknowledged: acknowledgedSends,
      deliveries,
      infos,
      fails,
      waiting: actors.reduce((sum, { waitingCount }) => sum + waitingCount, 0),
      attached: actors.filter(({ isAttached }) => isAttached).length,
    }
  }

  pauseReaders(share: number, isPaused: boolean): void {
    const raw = this.#seats.list.map(({ actor }) => actor).filter((actor) => actor instanceof RawActor)
    for (const actor of raw.slice(0, Math.ceil(raw.length * share))) actor.pause(isPaused)
  }

  /**
   * Waits until every client that is attached now was seen connected and up to date: it had each
   * conversation of its user up to the sequence number in `tops`. A client that is stopped or
   * paused during the wait counts as done. A client that was up to date once is not checked again,
   * even if it restarts. Returns descriptions of the clients that are not up to date at the
   * timeout.
   */
  async awaitTops(tops: readonly Top[], timeoutMs: number): Promise<readonly string[]> {
    const endsAt = performance.now() + timeoutMs
    const waiting = new Set(this.#seats.actors().filter(({ isAttached }) => isAttached))
    for (;;) {
      const behind: string[] = []
      for (const actor of waiting) {
        const lack = actor.isAttached ? describeLack(actor, tops) : undefined
        if (lack === undefined) waiting.delete(actor)
        else behind.push(lack)
      }
      if (behind.length === 0 || performance.now() > endsAt) return behind
      await pause(awaitEveryMs)
    }
  }

  /**
   * Stops the workload and waits until no message is waiting to be sent. Returns the number of
   * messages that still wait at the timeout.
   */
  async settle(timeoutMs: number): Promise<number> {
    this.#perSecond = 0
    this.#isBursting = false
    this.#churn.isOn = false
    const endsAt = performance.now() + timeoutMs
    await Promise.all(this.#hostile.map((client) => client.stop()))
    while (performance.now() < endsAt) {
      const isQuiet = this.status.waiting === 0 && !this.#churn.isBusy
      if (isQuiet) return 0
      await pause(awaitEveryMs)
    }
    return this.status.waiting
  }

  /**
   * Reads all conversations at the end of the run, once as existing clients and once as new
   * clients.
   */
  readFinally(tops: readonly Top[]): Promise<void> {
    return readFinally({ job: this.#job, seats: this.#seats, recorder: this.#recorder }, tops)
  }

  async end(): Promise<void> {
    this.#churn.end()
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#hostile.map((client) => client.stop()))
    await Promise.all(this.#seats.actors().map((actor) => actor.stop()))
  }

  #tick(): void {
    this.#owed = Math.min(this.#owed + (this.#perSecond * tickMs) / 1_000, 200)
    while (this.#owed >= 1) {
      this.#owed -= 1
      this.#activity.act()
    }
  }

  #every(ms: number, run: () => void): void {
    this.#timers.push(setInterval(run, ms))
  }

  #track(running: Promise<void>): void {
    running.catch((error: unknown) => {
      this.#onProblem(error instanceof Error ? (error.stack ?? error.message) : String(error))
    })
  }
}

/**
 * Returns a description of what the client has not received yet; undefined when it has everything
 * up to `tops`.
 */
function describeLack(actor: Actor, tops: readonly Top[]): string | undefined {
  if (!actor.isReady) return `${actor.describe()} is not ready`
  for (const { conversation, seq, members } of tops) {
    if (!members.includes(actor.person.id)) continue
    const position = actor.positionOf(conversation)
    if (position === undefined || position < seq)
      return `${actor.describe()} has ${position ?? 'nothing'} of ${seq} in ${conversation}`
  }
  return undefined
}
