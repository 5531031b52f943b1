/**
 * The benchmark scenario `curves`. Measures each point of a curve at a fixed moderate load that
 * saturates neither the load generator nor the servers. So the processor time per message and per
 * delivery can be compared with other machines. Writes each point to curves.json immediately, and
 * draws the plots at the end.
 *
 * - receivers: one room of 10 to 20 000 users, 50 000 deliveries per second (the compared servers
 *   saturate near 200 000 on our machine)
 * - load: one room of 500 users, with a rising number of deliveries per second
 * - rooms: 1 to 50 000 rooms that share the same traffic
 * - servers: 1 to 4 servers with connections; and two servers with connections plus further servers
 *   without connections
 * - connections: silent users, each in five conversations of a hundred members
 */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { startPostgres } from '@chorus/testkit'
import type { Postgres } from '@chorus/testkit'
import { describeEnvironment } from '../machine/environment.ts'
import type { Environment } from '../machine/environment.ts'
import type { Options } from '../options/options.ts'
import type { Round, ScenarioResult } from '../report/result.ts'
import type { Progress, ScenarioRun } from '../scenarios/scenario.ts'
import { chorusSettings } from '../targets/chorus.ts'
import type { Audience, TargetName } from '../targets/target.ts'
import { extraUse } from './bystander-watch.ts'
import type { CurveName } from '../options/curve-steps.ts'
import { readCurves, writeCurves } from '../points/curves-file.ts'
import { drawCurves } from './draw-curves.ts'
import { bytesOf, connectionsMax, measurePoint, residentMb } from './measure-point.ts'
import type { Measured, PointOptions } from './measure-point.ts'
import { replacePoints } from '../points/point.ts'
import type { CurvePoint, CurvesFile } from '../points/point.ts'
import { curvePeers, startCurveChorus, startCurvePeer } from './start-curve-target.ts'
import type { ChorusCurveTarget, CurvePeer, CurveTarget } from './start-curve-target.ts'

const bounds = {
  deliveriesPerSecond: 50_000,
  /** With more messages per second, the database would limit the result. */
  messagesMaxPerSecond: 1_000,
  /** With fewer messages per second, a measurement of a few seconds would have too few samples. */
  messagesMinPerSecond: 4,
  senders: 20,
  servers: 2,
  warmUpMs: 1_000,
  /** Warm-up time of a new server process, in which V8 compiles its code. */
  firstWarmUpMs: 4_000,
  measureMs: 3_000,
  /** Duration of a measurement with silent clients. It covers a whole interval of heartbeats. */
  idleMs: 10_000,
  /** Time in which an idle server collects its garbage and returns unused memory. */
  restMs: 12_000,
  loadReceivers: 500,
  /** Highest rate for the compared servers. At twice this rate they fall behind. */
  peersDeliveriesMax: 100_000,
  roomsPeople: 800,
  roomsSize: 4,
  roomsMessagesPerSecond: 1_000,
  serversPeople: 240,
  serversSize: 4,
  serversMessagesPerSecond: 1_000,
  serving: 2,
  silentRoomsEach: 5,
  silentRoomSize: 100,
} as const

const targetNames = ['chorus', ...(Object.keys(curvePeers) as CurvePeer[])] as const

export async function runCurves(options: Options, progress: Progress, root: string): Promise<ScenarioRun> {
  const postgres = await startPostgres()
  try {
    const run = new CurveRun(options, progress, postgres, describeEnvironment(root))
    for (let round = 1; round <= options.curveRounds; round++)
      for (const { name } of options.curves) await run.measure(name, round)
    for (const file of drawCurves(options.curvesDir)) progress(`drew ${file}`)
    return { result: run.result(), versions: {} }
  } finally {
    await postgres.remove()
  }
}

class CurveRun {
  readonly #options: Options
  readonly #progress: Progress
  readonly #postgres: Postgres
  readonly #environment: Environment
  readonly #startedAtMs = performance.now()
  readonly #file: string
  /** Content of curves.json before this run. */
  readonly #before: CurvesFile
  readonly #points: CurvePoint[] = []
  readonly #notes = new Set<string>()
  #deliveryBytes = 0

  constructor(options: Options, progress: Progress, postgres: Postgres, environment: Environment) {
    this.#options = options
    this.#progress = progress
    this.#postgres = postgres
    this.#environment = environment
    this.#file = join(options.curvesDir, 'curves.json')
    this.#before = readCurves(this.#file)
  }

  measure(curve: CurveName, round: number): Promise<void> {
    switch (curve) {
      case 'receivers':
        return this.#receivers(round)
      case 'load':
        return this.#load(round)
      case 'rooms':
        return this.#rooms(round)
      case 'servers':
        return this.#servers(round)
      case 'connections':
        return this.#connections(round)
    }
  }

  result(): ScenarioResult {
    const rounds = this.#points.map(
      ({ curve, target, variant, x, round, invalid, figures, processorUs, work }): Round => ({
        round,
        target,
        variant: [curve, x, variant].filter((part) => part !== '').join(' '),
        figures: {
          ...figures,
          messagesPerSecond: work.messages,
          deliveriesPerSecond: work.deliveries,
          ...(work.deliveries > 0 && { serverUsPerDelivery: processorUs.server / work.deliveries }),
          serverCpu: processorUs.server / 1_000_000,
          databaseCpu: processorUs.database / 1_000_000,
          redisCpu: processorUs.redis / 1_000_000,
        },
        invalid,
        raw: { work, processorUs },
      }),
    )
    return {
      scenario: 'curves',
      targets: { chorus: 'everything on, Postgres with fsync, Redis', ...curvePeers },
      settings: { chorus: chorusSettings, ...bounds },
      rounds,
      goals: [],
      notes: [...this.#notes],
    }
  }

  async #receivers(round: number): Promise<void> {
    const asked = this.#steps('receivers')
    const connectable = connectionsMax()
    const steps = [...new Set(asked.map((step) => Math.min(step, connectable)))]
    if (Math.max(...asked) > connectable)
      this.#notes.add(`${connectable} receivers at most: the limit of open files is too low for more (ulimit -n)`)
    for (const name of targetNames) {
      await this.#withTarget(name, bounds.servers, async ({ target, crowd }) => {
        // Create all rooms before the first client connects, so that no connection receives a
        // notice about a new room.
        const rooms: { readonly x: number; readonly audience: Audience }[] = []
        for (const x of steps) rooms.push({ x, audience: await crowd.room(x, bounds.senders) })
        for (const [index, { x, audience }] of rooms.entries()) {
          const wanted = Math.round(bounds.deliveriesPerSecond / x)
          const perSecond = Math.max(bounds.messagesMinPerSecond, Math.min(bounds.messagesMaxPerSecond, wanted))
          const measured = await measurePoint({
            target,
            audience,
            load: { kind: 'rate', perSecond },
            serving: bounds.servers,
            rooms: 1,
            roomsEach: 1,
            times: this.#times(index === 0),
          })
          this.#keep({ curve: 'receivers', target: name, variant: '', x, round }, measured)
        }
      })
    }
  }

  async #load(round: number): Promise<void> {
    for (const name of targetNames) {
      const steps = this.#steps('load').filter((x) => name === 'chorus' || x <= bounds.peersDeliveriesMax)
      if (steps.length === 0) continue
      await this.#withTarget(name, bounds.servers, async ({ target, crowd }) => {
        const audience = await crowd.room(bounds.loadReceivers, bounds.senders)
        for (const [index, x] of steps.entries()) {
          const measured = await measurePoint({
            target,
            audience,
            load: { kind: 'rate', perSecond: Math.round(x / bounds.loadReceivers) },
            serving: bounds.servers,
            rooms: 1,
            roomsEach: 1,
            times: this.#times(index === 0),
          })
          this.#deliveryBytes ||= await crowd.readDeliveryBytes()
          this.#keep({ curve: 'load', target: name, variant: '', x, round }, measured)
        }
      })
    }
  }

  async #rooms(round: number): Promise<void> {
    const { servers, roomsPeople: people, roomsSize: size } = bounds
    for (const x of this.#steps('rooms')) {
      // Start new servers for each step: the heap of a server never shrinks to its former size.
      await this.#withChorus(servers, async ({ target, crowd }) => {
        const audience = await crowd.cliques({ people, size, rooms: x })
        const common = { target, audience, serving: servers, rooms: x, roomsEach: (x * size) / people }
        await pause(bounds.restMs)
        const emptyMb = residentMb(target)
        const resting = await this.#rest(common, bounds.warmUpMs)
        const load = { kind: 'rate', perSecond: bounds.roomsMessagesPerSecond } as const
        const measured = await measurePoint({ ...common, load, times: this.#times(true) })
        this.#keep(
          { curve: 'rooms', target: 'chorus', variant: '', x, round },
          {
            ...measured,
            invalid: measured.invalid ?? resting.invalid,
            figures: { ...measured.figures, restMb: resting.residentMb, emptyMb },
          },
        )
      })
    }
  }

  async #servers(round: number): Promise<void> {
    for (const servers of this.#steps('servers'))
      for (const name of targetNames)
        await this.#withTarget(name, servers, async (started) => {
          const { serving } = bounds
          // First measure the variant `apart`, in which some servers have no connections. A server
          // that had connections needs time to become idle.
          if (servers > serving) await this.#serversOf(name, started, { servers, serving, round })
          // With one or two servers, clients connect to all of them. For the compared servers,
          // measure only these steps.
          if (servers <= serving || name === 'chorus')
            await this.#serversOf(name, started, { servers, serving: servers, round })
        })
  }

  async #serversOf(
    name: TargetName,
    { target, crowd, redis }: CurveTarget,
    { servers, serving, round }: { readonly servers: number; readonly serving: number; readonly round: number },
  ): Promise<void> {
    const { serversPeople: people, serversSize: size } = bounds
    const rooms = people / size
    const audience = await crowd.cliques({ people, size, rooms })
    const bystanders = target.processes
      .filter(({ role }) => role === 'server')
      .map(({ pid }, index) => ({ pid, port: target.ports[index] ?? 0 }))
      .slice(serving)
    const common = { target, audience, serving, rooms, roomsEach: 1, times: this.#times(true) }
    const look = async () => ({ bytes: await bytesOf(redis), use: await crowd.readBystanders(bystanders) })
    const load = { kind: 'rate', perSecond: bounds.serversMessagesPerSecond } as const
    // Let the servers without connections sweep (poll the log) under load once, so that V8 compiles
    // that code before the measurement. Then pause, so that garbage collection ends before the
    // silent period begins.
    if (bystanders.length > 0 && name === 'chorus') {
      await measurePoint({ ...common, load, times: this.#times() })
      await pause(bounds.restMs)
    }
    // First measure an equally long period without messages, to subtract what the servers, Redis
    // and Postgres use anyway.
    const start = await look()
    const silent = await measurePoint({ ...common, load: { kind: 'idle' } })
    const middle = await look()
    const measured = await measurePoint({ ...common, load })
    const end = await look()
    const messages = Math.max(1, measured.acknowledgedInAll)
    const looks =
      start.use === undefined || middle.use === undefined || end.use === undefined || bystanders.length === 0
        ? undefined
        : ([start.use, middle.use, end.use] as const)
    const sweptUs = (role: 'serverUs' | 'databaseUs'): number =>
      looks === undefined ? 0 : Math.round((extraUse(looks, role) / messages / bystanders.length) * 100) / 100
    this.#keep(
      { curve: 'servers', target: name, variant: serving < servers ? 'apart' : '', x: servers, round },
      {
        ...measured,
        invalid: measured.invalid ?? silent.invalid,
        figures: {
          ...measured.figures,
          redisBytesPerMessage: Math.round((end.bytes - middle.bytes - (middle.bytes - start.bytes)) / messages),
          ...(looks !== undefined && { sweptServerUs: sweptUs('serverUs'), sweptDatabaseUs: sweptUs('databaseUs') }),
        },
      },
    )
  }

  async #connections(round: number): Promise<void> {
    const { servers, silentRoomsEach: each, silentRoomSize: size } = bounds
    for (const x of this.#steps('connections')) {
      await this.#withChorus(servers, async ({ target, crowd }) => {
        const audience = await crowd.silent(x, { each, size })
        await pause(bounds.restMs)
        const emptyMb = residentMb(target)
        const rooms = each * Math.ceil(x / size)
        const resting = await this.#rest({ target, audience, serving: servers, rooms, roomsEach: each }, bounds.idleMs)
        this.#keep(
          { curve: 'connections', target: 'chorus', variant: '', x, round },
          { ...resting, figures: { ...resting.figures, restMb: resting.residentMb, emptyMb } },
        )
      })
    }
  }

  /**
   * Measures the processor time and the servers' memory while all clients are connected and silent.
   */
  #rest(common: Omit<PointOptions, 'load' | 'times'>, measureMs: number): Promise<Measured> {
    const times = { ...this.#times(), warmUpMs: bounds.restMs, measureMs }
    return measurePoint({ ...common, load: { kind: 'idle' }, times })
  }

  #times(isFirst = false): PointOptions['times'] {
    const { textChars, drainMs } = this.#options
    const { warmUpMs, firstWarmUpMs, measureMs } = bounds
    return { textChars, drainMs, warmUpMs: isFirst ? firstWarmUpMs : warmUpMs, measureMs }
  }

  #steps(curve: CurveName): readonly number[] {
    return this.#options.curves.find(({ name }) => name === curve)?.steps ?? []
  }

  async #withTarget(name: TargetName, servers: number, work: (started: CurveTarget) => Promise<void>): Promise<void> {
    if (name === 'chorus') return this.#withChorus(servers, work)
    const started = await startCurvePeer(name as CurvePeer, servers)
    try {
      await work(started)
    } finally {
      await started.stop()
    }
  }

  async #withChorus(servers: number, work: (started: ChorusCurveTarget) => Promise<void>): Promise<void> {
    const started = await startCurveChorus({
      servers,
      postgres: this.#postgres,
      environment: this.#options.serverEnvironment,
    })
    try {
      await work(started)
    } finally {
      await started.stop()
    }
  }

  /** Writes the point to curves.json immediately, so an interrupted run keeps its points. */
  #keep(
    place: Pick<CurvePoint, 'curve' | 'target' | 'variant' | 'x' | 'round'>,
    { work, processorUs, figures, invalid }: Measured,
  ): void {
    const point: CurvePoint = {
      ...place,
      run: 0,
      ...(invalid !== undefined && { invalid }),
      work,
      processorUs,
      figures,
    }
    this.#points.push(point)
    writeCurves(
      this.#file,
      replacePoints(this.#before, {
        environment: this.#environment,
        points: this.#points,
        deliveryBytes: this.#deliveryBytes,
      }),
    )
    const seconds = Math.round((performance.now() - this.#startedAtMs) / 1_000)
    const { curve, target, variant, x, round } = place
    const seen =
      invalid ??
      `${work.messages} messages/s, ${work.deliveries} deliveries/s, cores: server ${cores(processorUs.server)}, ` +
        `database ${cores(processorUs.database)}, Redis ${cores(processorUs.redis)}` +
        (figures.deliveryP99Ms === undefined ? '' : `, p99 ${figures.deliveryP99Ms} ms`)
    this.#progress(`${seconds} s, round ${round}, ${curve} ${x}${variant && ` ${variant}`}, ${target}: ${seen}`)
  }
}

const cores = (processorUs: number): string => (processorUs / 1_000_000).toFixed(2)
