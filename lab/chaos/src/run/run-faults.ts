/**
 * Executes one fault run, from starting the cluster to the finished history. Warms up, then breaks
 * and heals by schedule while clients send. After each fault it waits until all clients have caught
 * up. At the end it stops the load and records the final state. It judges nothing: the checker
 * does, and gets only the history.
 */
import { mkdirSync } from 'node:fs'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { defaultSettings } from '../checker/rule.ts'
import { faults as allFaults, notRun } from '../faults/catalogue.ts'
import type { LabShape } from '../faults/fault.ts'
import { Lab } from '../faults/lab.ts'
import type { ServerNews } from '../faults/lab.ts'
import { HistoryWriter, nowMicros } from '../history/index.ts'
import { insertPeople, readResidentBytes } from '@chorus/testkit'
import type { Person } from '../clients/person.ts'
import { DriverProcess } from '../workload/driver-process.ts'
import type { ActorKind, ActorPlan } from '../workload/job.ts'
import { makeConversations } from '../workload/conversations.ts'
import type { ConversationPlan, ConversationSeed } from '../workload/conversations.ts'
import { dumpLog, readTops } from './dump-log.ts'
import { Random } from '../random/random.ts'
import { writeRedisKeys, writeResources } from './resources.ts'
import { describeScheduled, makeSchedule } from './schedule.ts'
import type { ScheduledFault } from './schedule.ts'

export interface RunOptions {
  readonly name: string
  readonly seed: number
  readonly faults: number
  readonly servers: number
  readonly clients: number
  readonly drivers: number
  readonly rate: number
  readonly messages: number
  /** Time that the checker will add to every bound. The run only records it. */
  readonly slackMs: number
  readonly isLong: boolean
  readonly only: readonly string[]
  /** Conversations and clients of the run. Default: a mixture of all kinds. */
  readonly population?: PopulationPlan
  /** Folder for the history. */
  readonly folder: string
  readonly commit: string
  /** Node arguments for servers and drivers. Mutants are loaded through them. */
  readonly nodeArguments?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /**
   * Maximum time to wait until all clients have caught up, and until no message waits to be sent.
   * Default: a minute.
   */
  readonly patienceMs?: number
  readonly say: (line: string) => void
}

export interface PopulationPlan {
  readonly conversations: ConversationPlan
  readonly kinds: readonly (readonly [ActorKind, number])[]
  /** Number of users per client. Below 1, some users have several devices. */
  readonly peoplePerClient: number
  readonly padChars: number
}

export interface RunFacts {
  readonly acknowledged: number
  readonly deliveries: number
  readonly faults: number
  readonly rows: number
  /** Times from healing until all clients have caught up, by kind and name of the fault. */
  readonly healMs: ReadonlyMap<string, readonly number[]>
  readonly problems: readonly string[]
}

const frontCount = 4
const warmUpMs = 2_000
const patienceMsDefault = 60_000
const restMs = 2_500
/** Maximum time for sending more messages after the last fault. */
const topUpMaxMs = 30 * 60_000
const problemsMax = 100
const stormQuietMs = 2_000
const stormAwayMs = 500
const slowMs = 20_000
const memoryEveryMs = 200
/** Maximum time to wait until the servers have returned the memory of a busy phase. */
const memoryReturnMaxMs = 30_000

const everything: PopulationPlan = {
  conversations: [
    ['hot', 2, 24],
    ['group', 5, 8],
    ['direct', 8, 2],
    ['churn', 3, 10],
    ['bulk', 8, 3],
  ],
  kinds: [
    ['sdk', 50],
    ['sdk-sse', 8],
    ['socket-io', 24],
    ['polling', 5],
    ['sse', 13],
  ],
  peoplePerClient: 0.75,
  padChars: 0,
}

/** A measurement that a scenario makes between warm-up and rest. */
export type Measurement = { readonly what: 'storm' } | { readonly what: 'slow'; readonly pausedShare: number }

export interface Measured {
  /** storm: time from the cut until all clients are back and have caught up. */
  readonly recoveryMs: number
  /** storm: largest number of reads of one conversation's changes by one server. */
  readonly readsAtMost: number
  /**
   * slow: growth of the server that grew most, compared with the same load without paused clients.
   */
  readonly growthBytes: number
}

export async function runMeasured(options: RunOptions, measurement: Measurement): Promise<Measured> {
  mkdirSync(options.folder, { recursive: true })
  const writer = new HistoryWriter({ folder: options.folder, origin: 'run' })
  const run = new Run(options, new Random(`chaos ${options.seed}`), writer)
  try {
    await run.start()
    return measurement.what === 'storm'
      ? { ...nothingMeasured, ...(await run.storm()) }
      : { ...nothingMeasured, ...(await run.slow(measurement.pausedShare)) }
  } finally {
    await run.close()
    writer.close()
  }
}

const nothingMeasured: Measured = { recoveryMs: 0, readsAtMost: 0, growthBytes: 0 }

export async function runFaults(options: RunOptions): Promise<RunFacts> {
  const { say } = options
  const random = new Random(`chaos ${options.seed}`)
  const shape: LabShape = { servers: options.servers, fronts: frontCount, isLong: options.isLong }
  const fitting = allFaults.filter(({ kind }) => options.only.length === 0 || options.only.includes(kind))
  const possible = fitting.filter((fault) => fault.missing?.() === undefined)
  const schedule = makeSchedule(random.branch('schedule'), possible, options.faults, shape)
  say(`seed ${options.seed}: ${options.faults} faults`)
  for (const scheduled of schedule) say(describeScheduled(scheduled))
  for (const fault of fitting) {
    const why = fault.missing?.()
    if (why !== undefined) say(`not run: ${fault.kind} ${fault.name}; ${why}`)
  }
  for (const { kind, why } of notRun) say(`not run: ${kind}; ${why}`)

  mkdirSync(options.folder, { recursive: true })
  const writer = new HistoryWriter({ folder: options.folder, origin: 'run' })
  const run = new Run(options, random, writer)
  try {
    await run.start()
    await run.breakAndHeal(schedule)
    await run.topUp()
    return await run.rest()
  } finally {
    await run.close()
    writer.close()
  }
}

class Run {
  readonly #options: RunOptions
  readonly #random: Random
  readonly #writer: HistoryWriter
  readonly #problems: string[] = []
  readonly #baselineBytes = new Map<string, number>()
  readonly #healMs = new Map<string, number[]>()
  #lab: Lab | undefined
  #drivers: DriverProcess[] = []
  #broken: Error | undefined
  #faultCount = 0
  #lastAcknowledged = 0

  constructor(options: RunOptions, random: Random, writer: HistoryWriter) {
    this.#options = options
    this.#random = random
    this.#writer = writer
  }

  get #population(): PopulationPlan {
    return this.#options.population ?? everything
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? patienceMsDefault
  }

  get #theLab(): Lab {
    if (this.#lab === undefined) throw new Error('unable to continue; the cluster was not started')
    return this.#lab
  }

  async start(): Promise<void> {
    const { options, writer } = { options: this.#options, writer: this.#writer }
    const subscribeAtReplica = this.#random.branch('subscribe').chance(0.5)
    const settings = {
      faults: options.faults,
      servers: options.servers,
      clients: options.clients,
      rate: options.rate,
      messages: options.messages,
      long: options.isLong,
      subscribeAtReplica,
      slackMs: options.slackMs,
      ...(options.only.length > 0 && { only: options.only.join() }),
    }
    writer.write({
      t: nowMicros(),
      op: 'run',
      name: options.name,
      seed: options.seed,
      commit: options.commit,
      machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 1024 ** 3)} GB, ${type()} ${release()}, Node ${process.versions.node}, load before ${(loadavg()[0] ?? 0).toFixed(2)}`,
      startedAt: new Date().toISOString(),
      settings,
    })
    options.say(`starting ${options.servers} servers, Redis with a replica, Postgres and HAProxy`)
    this.#lab = await Lab.start({
      servers: options.servers,
      fronts: frontCount,
      subscribeAtReplica,
      random: this.#random.branch('links'),
      env: options.env ?? {},
      ...(options.nodeArguments !== undefined && { nodeArguments: options.nodeArguments }),
      onServerNews: (news) => this.#onServerNews(news),
    })
    const lab = this.#lab
    options.say(`servers subscribe at the ${subscribeAtReplica ? 'replica' : 'primary'}`)
    const { people, conversations } = await this.#populate(lab)
    await this.#startDrivers(lab, people, conversations)
    this.#phase('warm-up')
    this.#tellRate(options.rate)
    await this.#wait(warmUpMs)
    await this.#awaitTops('warm-up', this.#patienceMs)
    writeResources(lab, writer, 'baseline')
    for (const { name, pid } of lab.servers) this.#baselineBytes.set(name, readResidentBytes(pid))
  }

  /** Injects all faults of the schedule in turn, while clients send, join and leave. */
  async breakAndHeal(schedule: readonly ScheduledFault[]): Promise<void> {
    this.#phase('faults')
    for (const driver of this.#drivers) driver.tell({ kind: 'churn', isOn: true })
    for (const scheduled of schedule) await this.#inject(scheduled)
    for (const driver of this.#drivers) driver.tell({ kind: 'churn', isOn: false })
  }

  /** Cuts all client connections at once. */
  async storm(): Promise<Pick<Measured, 'recoveryMs' | 'readsAtMost'>> {
    const lab = this.#theLab
    await this.#wait(stormQuietMs)
    for (const reads of lab.reads) reads.reset()
    const cutAt = performance.now()
    for (const front of lab.fronts) front.reset()
    // Messages sent while the clients are offline are the ones that they must catch up on.
    await this.#wait(stormAwayMs)
    await this.#awaitTops('storm', this.#patienceMs)
    const recoveryMs = performance.now() - cutAt
    const conversations = new Set((await readTops(lab)).map(({ conversation }) => conversation))
    let readsAtMost = 0
    let most = ''
    for (const [server, { counts }] of lab.reads.entries()) {
      for (const [id, byStatement] of counts) {
        const reads = [...byStatement.values()].reduce((sum, count) => sum + count, 0)
        // Statements can also name a user's id; count only those that name a conversation.
        if (!conversations.has(id) || reads <= readsAtMost) continue
        readsAtMost = reads
        most = `server-${server + 1} read ${id}: ${[...byStatement].map(([name, count]) => `${count} ${name}`).join(', ')}`
      }
    }
    this.#options.say(most)
    return { recoveryMs, readsAtMost }
  }

  /**
   * Compares the servers' memory while some clients do not read with their memory while all clients
   * read.
   */
  async slow(pausedShare: number): Promise<Pick<Measured, 'growthBytes'>> {
    const before = await this.#watchMemory(slowMs)
    for (const driver of this.#drivers) driver.tell({ kind: 'pause', share: pausedShare, isPaused: true })
    const during = await this.#watchMemory(slowMs)
    for (const driver of this.#drivers) driver.tell({ kind: 'pause', share: 1, isPaused: false })
    await this.#awaitTops('slow', this.#patienceMs)
    return { growthBytes: Math.max(...during.map((bytes, index) => bytes - (before[index] ?? 0))) }
  }

  /** Returns the highest memory of each server during this time. */
  async #watchMemory(forMs: number): Promise<number[]> {
    const most = this.#theLab.servers.map(() => 0)
    const endsAt = performance.now() + forMs
    while (performance.now() < endsAt) {
      for (const [index, { pid }] of this.#theLab.servers.entries()) {
        most[index] = Math.max(most[index] ?? 0, readResidentBytes(pid))
      }
      await this.#wait(memoryEveryMs)
    }
    return most
  }

  /** Sends as fast as possible until the requested number of messages is acknowledged. */
  async topUp(): Promise<void> {
    const endsAt = performance.now() + topUpMaxMs
    if (this.#acknowledged >= this.#options.messages) return
    this.#options.say(`${this.#acknowledged} acknowledged so far; sending on until ${this.#options.messages}`)
    for (const driver of this.#drivers) driver.tell({ kind: 'burst', isOn: true })
    while (this.#acknowledged < this.#options.messages && performance.now() < endsAt) await this.#wait(200)
    for (const driver of this.#drivers) driver.tell({ kind: 'burst', isOn: false })
  }

  /**
   * Waits until each server is within the limit of A16. V8 returns the memory of a busy phase only
   * after some seconds without work (decision 0019). So a measurement right after the last message
   * would show the load and not a leak.
   */
  async #awaitMemory(lab: Lab): Promise<void> {
    const endsAt = performance.now() + memoryReturnMaxMs
    const isSettled = (): boolean =>
      lab.servers.every(({ name, pid }) => {
        const baselineBytes = this.#baselineBytes.get(name)
        if (baselineBytes === undefined) return true
        return readResidentBytes(pid) - baselineBytes <= defaultSettings.rssGrowthMaxBytes
      })
    while (!isSettled() && performance.now() < endsAt) await this.#wait(memoryEveryMs)
  }

  /**
   * Stops the load and waits until all clients have caught up. Then reads everything and records
   * it.
   */
  async rest(): Promise<RunFacts> {
    const { say } = this.#options
    const lab = this.#theLab
    this.#tellRate(0)
    const waiting = await Promise.all(this.#drivers.map((driver) => driver.settle(this.#patienceMs)))
    const unsettled = waiting.reduce((sum, count) => sum + count, 0)
    if (unsettled > 0) this.#note(`${unsettled} messages had no outcome after ${this.#patienceMs} ms without faults`)
    await this.#awaitTops('rest', this.#patienceMs)
    await this.#wait(restMs)
    await this.#awaitMemory(lab)
    this.#phase('quiet')
    writeResources(lab, this.#writer, 'quiet')
    await writeRedisKeys(lab.primary, this.#writer)
    const tops = await readTops(lab)
    say('reading everything again, with the running clients and with a new client')
    for (const driver of this.#drivers) await driver.readFinally(tops)
    const rows = await dumpLog(lab, this.#writer)
    for (const { name } of lab.servers) {
      this.#writer.write({
        t: nowMicros(),
        op: 'server',
        server: name,
        what: 'scanned',
        lines: lab.logLines.get(name) ?? 0,
      })
    }
    for (const driver of this.#drivers) await driver.end()
    this.#phase('end')
    return {
      acknowledged: this.#acknowledged,
      deliveries: this.#drivers.reduce((sum, { status }) => sum + status.deliveries, 0),
      faults: this.#faultCount,
      rows,
      healMs: this.#healMs,
      problems: this.#problems,
    }
  }

  async close(): Promise<void> {
    for (const driver of this.#drivers) driver.kill()
    await this.#lab?.close()
  }

  get #acknowledged(): number {
    return this.#drivers.reduce((sum, { status }) => sum + status.acknowledged, 0)
  }

  async #inject({ id, fault, drawn, afterMs }: ScheduledFault): Promise<void> {
    const lab = this.#theLab
    const workload = {
      pauseReaders: (share: number, isPaused: boolean) => {
        for (const driver of this.#drivers) driver.tell({ kind: 'pause', share, isPaused })
      },
    }
    await this.#wait(afterMs)
    const write = (phase: 'start' | 'heal'): void => {
      const { kind, name, affects, boundMs } = fault
      this.#writer.write({
        t: nowMicros(),
        op: 'fault',
        id,
        kind,
        name,
        phase,
        targets: drawn.targets,
        affects,
        boundMs,
      })
    }
    // Recorded before `begin`, so that no effect of the fault precedes it in time.
    write('start')
    await fault.begin(lab, drawn, workload)
    if (drawn.forMs > 0) await this.#wait(drawn.forMs)
    await fault.heal(lab, drawn, workload)
    write('heal')
    const tookMs = await this.#awaitTops(`fault ${id}`, this.#patienceMs)
    await fault.restore?.(lab, drawn)
    this.#faultCount += 1
    const key = `${fault.kind} ${fault.name}`
    this.#healMs.set(key, [...(this.#healMs.get(key) ?? []), tookMs])
    const late = tookMs > fault.boundMs ? `  (bound ${fault.boundMs} ms)` : ''
    const acknowledged = this.#acknowledged
    this.#options.say(
      `${String(id).padStart(4)} ${key}: caught up after ${Math.round(tookMs)} ms${late}; +${acknowledged - this.#lastAcknowledged} acknowledged`,
    )
    this.#lastAcknowledged = acknowledged
    writeResources(lab, this.#writer, 'during')
  }

  /**
   * Waits until every client has everything that is stored now. Returns the time that this took.
   */
  async #awaitTops(what: string, timeoutMs: number): Promise<number> {
    const startedAt = performance.now()
    const tops = await readTops(this.#theLab)
    const behind = (await Promise.all(this.#drivers.map((driver) => driver.awaitTops(tops, timeoutMs)))).flat()
    this.#throwIfBroken()
    if (behind.length > 0) {
      this.#note(`${what}: ${behind.length} clients have not caught up within ${timeoutMs} ms`)
      for (const line of behind.slice(0, 5)) this.#note(`  ${line}`)
    }
    return performance.now() - startedAt
  }

  async #populate(lab: Lab): Promise<{ people: Person[]; conversations: ConversationSeed[] }> {
    const { clients, faults } = this.#options
    const peopleCount = Math.max(4, Math.round(clients * this.#population.peoplePerClient))
    // Each person has one session for its own requests, one for the reader at the end, and the rest
    // for clients that replace revoked ones. A hostile client needs a session, too.
    const sessionsEach = 5 + Math.ceil(clients / peopleCount) + Math.ceil(faults / 20)
    const people = await insertPeople(lab.cluster.postgres, lab.cluster.databaseUrl, peopleCount, sessionsEach)
    const conversations = await makeConversations(
      lab.cluster.url,
      people,
      this.#population.conversations,
      this.#random.branch('conversations'),
      ({ id, members }) => {
        const [creator, ...others] = members.map((index) => people[index]?.id ?? '')
        const operation = this.#writer.nextId()
        const base = { t: nowMicros(), op: 'create' as const, id: operation }
        this.#writer.write({ ...base, type: 'invoke', process: 'run', user: creator ?? '', members: others })
        this.#writer.write({ ...base, type: 'ok', conversation: id })
      },
    )
    return { people, conversations }
  }

  async #startDrivers(lab: Lab, people: readonly Person[], conversations: readonly ConversationSeed[]): Promise<void> {
    const { options } = { options: this.#options }
    const plans = this.#planActors(people)
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
            // All clients of a person belong to one driver, because that driver assigns the
            // person's sessions.
            actors: plans.filter(({ person }) => person % count === index),
            churned: churned.filter((_id, place) => place % count === index),
            padChars: this.#population.padChars,
            spareSessions: { from: 1, to: sessions - 1 },
          },
          nodeArguments: options.nodeArguments ?? [],
          env: options.env ?? {},
          onProblem: (text) => this.#note(`driver ${index + 1}: ${text}`),
          onBroken: (error) => {
            this.#broken ??= error
          },
        }),
      ),
    )
    options.say(`${plans.length} clients of ${people.length} people in ${conversations.length} conversations`)
  }

  #planActors(people: readonly Person[]): ActorPlan[] {
    const random = this.#random.branch('actors')
    return Array.from({ length: this.#options.clients }, (_, index) => {
      const kind = random.pickWeighted(this.#population.kinds)
      const person = index % people.length
      const watched = random.chance(0.3) ? [random.pick(people).id, random.pick(people).id] : []
      return {
        name: `c${index}`,
        person,
        kind,
        front: random.int(0, frontCount - 1),
        watched: [...new Set(watched)],
      }
    })
  }

  #tellRate(perSecond: number): void {
    for (const driver of this.#drivers) driver.tell({ kind: 'rate', perSecond: perSecond / this.#drivers.length })
  }

  #onServerNews({ server, what, text }: ServerNews): void {
    this.#writer.write({ t: nowMicros(), op: 'server', server, what, text })
    if (what !== 'expected-exit') this.#note(`${server}: ${what}: ${text}`)
  }

  #phase(phase: 'warm-up' | 'faults' | 'quiet' | 'end'): void {
    this.#writer.write({ t: nowMicros(), op: 'phase', phase })
  }

  #note(problem: string): void {
    if (this.#problems.length < problemsMax) {
      this.#problems.push(problem)
      this.#options.say(`! ${problem}`)
    }
  }

  #throwIfBroken(): void {
    if (this.#broken !== undefined) throw this.#broken
  }

  async #wait(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms))
    this.#throwIfBroken()
  }
}
