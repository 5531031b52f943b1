/**
 * A chaos run in progress: the cluster, the workload processes with their clients, and the history.
 * If a workload process fails, the run ends at its next wait, because such a run proves nothing.
 */
import { mkdirSync } from 'node:fs'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { readResidentBytes } from '@chorus/testkit'
import { Lab } from '../faults/lab.ts'
import type { ServerNews } from '../faults/lab.ts'
import { HistoryWriter, nowMicros } from '../history/index.ts'
import { Random } from '../random/random.ts'
import { DriverProcess } from '../workload/driver-process.ts'
import type { ToDriver } from '../workload/job.ts'
import { readTops } from './dump-log.ts'
import { mixedPopulation, planActors, populate } from './population.ts'
import type { Population, PopulationPlan } from './population.ts'
import { writeResources } from './resources.ts'

export interface RunOptions {
  readonly name: string
  readonly seed: number
  readonly faults: number
  readonly servers: number
  readonly clients: number
  readonly drivers: number
  readonly rate: number
  readonly messages: number
  /** Time that the checker adds to every maximum time. The run only records it. */
  readonly slackMs: number
  readonly isLong: boolean
  readonly only: readonly string[]
  /** Conversations and clients of the run. Default: a mixture of all kinds. */
  readonly population?: PopulationPlan
  /** Folder for the history files. */
  readonly folder: string
  readonly commit: string
  /** Node arguments for servers and workload processes. They load a mutant, if there is one. */
  readonly nodeArguments?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /**
   * Maximum time to wait until all clients have caught up, and until no message waits to be sent.
   * Default: a minute.
   */
  readonly patienceMs?: number
  readonly say: (line: string) => void
}

/** Number of fault proxies in front of the balancer. Each client connects through one of them. */
export const frontCount = 4
const warmUpMs = 2_000
const patienceMsDefault = 60_000
const problemsMax = 100

/** Starts a run, passes it to `use`, and stops everything afterwards. */
export async function withRun<Result>(options: RunOptions, use: (run: Run) => Promise<Result>): Promise<Result> {
  mkdirSync(options.folder, { recursive: true })
  const writer = new HistoryWriter({ folder: options.folder, origin: 'run' })
  const run = new Run(options, writer)
  try {
    await run.start()
    return await use(run)
  } finally {
    await run.close()
    writer.close()
  }
}

export class Run {
  readonly options: RunOptions
  readonly writer: HistoryWriter
  readonly patienceMs: number
  /** Memory of each server after the warm-up, by the server's name. */
  readonly baselineBytes = new Map<string, number>()
  readonly #population: PopulationPlan
  readonly #random: Random
  #lab: Lab | undefined
  #drivers: readonly DriverProcess[] = []
  #broken: Error | undefined
  #problemCount = 0

  constructor(options: RunOptions, writer: HistoryWriter) {
    this.options = options
    this.writer = writer
    this.patienceMs = options.patienceMs ?? patienceMsDefault
    this.#population = options.population ?? mixedPopulation
    this.#random = new Random(`chaos ${options.seed}`)
  }

  get lab(): Lab {
    if (this.#lab === undefined) throw new Error('unable to continue; the cluster was not started')
    return this.#lab
  }

  get drivers(): readonly DriverProcess[] {
    return this.#drivers
  }

  /** Number of messages acknowledged so far. */
  get acknowledged(): number {
    return this.#drivers.reduce((sum, { status }) => sum + status.acknowledged, 0)
  }

  /** Starts the cluster and the clients, and warms up. */
  async start(): Promise<void> {
    const { options, writer } = this
    const subscribeAtReplica = this.#random.branch('subscribe').chance(0.5)
    this.#writeStart(subscribeAtReplica)
    options.say(`starting ${options.servers} servers, Redis with a replica, Postgres and HAProxy`)
    const lab = await Lab.start({
      servers: options.servers,
      fronts: frontCount,
      subscribeAtReplica,
      random: this.#random.branch('links'),
      env: options.env ?? {},
      ...(options.nodeArguments !== undefined && { nodeArguments: options.nodeArguments }),
      onServerNews: (news) => this.#onServerNews(news),
    })
    this.#lab = lab
    options.say(`servers subscribe at the ${subscribeAtReplica ? 'replica' : 'primary'}`)
    const random = this.#random.branch('conversations')
    await this.#startDrivers(lab, await populate(lab, this.#population, options, random, writer))
    this.phase('warm-up')
    this.tellRate(options.rate)
    await this.wait(warmUpMs)
    await this.awaitTops('warm-up')
    writeResources(lab, writer, 'baseline')
    for (const { name, pid } of lab.servers) this.baselineBytes.set(name, readResidentBytes(pid))
  }

  async close(): Promise<void> {
    for (const driver of this.#drivers) driver.kill()
    await this.#lab?.close()
  }

  tellDrivers(message: ToDriver): void {
    for (const driver of this.#drivers) driver.tell(message)
  }

  /** Sets the number of operations per second of all clients together. */
  tellRate(perSecond: number): void {
    this.tellDrivers({ kind: 'rate', perSecond: perSecond / this.#drivers.length })
  }

  /**
   * Waits until every client has everything that is stored now. Returns the time that this took.
   */
  async awaitTops(what: string): Promise<number> {
    const startedAt = performance.now()
    const tops = await readTops(this.lab)
    const waits = this.#drivers.map((driver) => driver.awaitTops(tops, this.patienceMs))
    const behind = (await Promise.all(waits)).flat()
    this.#throwIfBroken()
    if (behind.length > 0) {
      this.note(`${what}: ${behind.length} clients have not caught up within ${this.patienceMs} ms`)
      for (const line of behind.slice(0, 5)) this.note(`  ${line}`)
    }
    return performance.now() - startedAt
  }

  async wait(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms))
    this.#throwIfBroken()
  }

  /** Records in the history that a phase of the run begins. */
  phase(phase: 'warm-up' | 'faults' | 'quiet' | 'end'): void {
    this.writer.write({ t: nowMicros(), op: 'phase', phase })
  }

  /** Prints a problem of the test itself. After a maximum number of problems, prints no more. */
  note(problem: string): void {
    this.#problemCount += 1
    if (this.#problemCount <= problemsMax) this.options.say(`! ${problem}`)
  }

  #writeStart(subscribeAtReplica: boolean): void {
    const { options } = this
    this.writer.write({
      t: nowMicros(),
      op: 'run',
      name: options.name,
      seed: options.seed,
      commit: options.commit,
      machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 1024 ** 3)} GB, ${type()} ${release()}, Node ${process.versions.node}, load before ${(loadavg()[0] ?? 0).toFixed(2)}`,
      startedAt: new Date().toISOString(),
      settings: {
        faults: options.faults,
        servers: options.servers,
        clients: options.clients,
        rate: options.rate,
        messages: options.messages,
        long: options.isLong,
        subscribeAtReplica,
        slackMs: options.slackMs,
        ...(options.only.length > 0 && { only: options.only.join() }),
      },
    })
  }

  async #startDrivers(lab: Lab, { people, conversations }: Population): Promise<void> {
    const { options } = this
    const actorsRandom = this.#random.branch('actors')
    const plans = planActors(this.#population.kinds, options.clients, people, frontCount, actorsRandom)
    const churned = conversations.filter(({ role }) => role === 'churn').map(({ id }) => id)
    const { drivers: count } = options
    const sessions = people[0]?.sessions.length ?? 0
    this.#drivers = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        DriverProcess.start({
          job: {
            name: `driver-${index + 1}`,
            folder: options.folder,
            seed: `chaos ${options.seed}/driver ${index}`,
            fronts: lab.fronts.map(({ port }) => `http://127.0.0.1:${port}`),
            people,
            conversations,
            // All clients of a user belong to one workload process, because that process assigns
            // the user's sessions.
            actors: plans.filter(({ person }) => person % count === index),
            churned: churned.filter((_id, place) => place % count === index),
            padChars: this.#population.padChars,
            spareSessions: { from: 1, to: sessions - 1 },
          },
          nodeArguments: options.nodeArguments ?? [],
          env: options.env ?? {},
          onProblem: (text) => this.note(`driver ${index + 1}: ${text}`),
          onBroken: (error) => {
            this.#broken ??= error
          },
        }),
      ),
    )
    options.say(`${plans.length} clients of ${people.length} people in ${conversations.length} conversations`)
  }

  #onServerNews({ server, what, text }: ServerNews): void {
    this.writer.write({ t: nowMicros(), op: 'server', server, what, text })
    if (what !== 'expected-exit') this.note(`${server}: ${what}: ${text}`)
  }

  #throwIfBroken(): void {
    if (this.#broken !== undefined) throw this.#broken
  }
}
