/**
 * Starts a server with default limits, two members who chat with each other, and one signed-in
 * attacker with separate conversations. A test fails if the attack disturbed the two members, or
 * pushed a metric of the server over its limit.
 */
import {
  findFreePort,
  HttpUser,
  makeAttacker,
  readResidentBytes,
  startServer,
  usePostgres,
  waitForFact,
} from '@chorus/testkit'
import type { Attacker, ServerProcess } from '@chorus/testkit'
import { expect } from 'vitest'
import { Witnesses } from './witnesses.ts'

const mebibyte = 1024 * 1024
/**
 * Size of V8's semi-space, which holds young objects. Young objects can take up to three times this
 * size before V8 frees any of them.
 */
const semiSpaceMebibytes = 16
/**
 * Maximum growth of the server's memory that remains after an attack: the cost of a hundred clients
 * that never read (rule SLOW1), plus V8's young generation.
 */
const settledMaxBytes = (64 + 3 * semiSpaceMebibytes) * mebibyte
/**
 * Maximum growth of the server's memory during an attack. It includes garbage that V8 has not freed
 * yet.
 */
const peakMaxBytes = 2 * settledMaxBytes
const settleTimeoutMs = 20_000
const sampleIntervalMs = 50
const loopBlockMaxSeconds = 1
export type Engine = 'postgres' | 'embedded'

export class AttackedServer {
  readonly server: ServerProcess
  readonly attacker: Attacker
  readonly #metricsUrl: string
  readonly #witnesses: Witnesses
  readonly #restingBytes: number

  private constructor(parts: {
    server: ServerProcess
    attacker: Attacker
    metricsUrl: string
    witnesses: Witnesses
  }) {
    this.server = parts.server
    this.attacker = parts.attacker
    this.#metricsUrl = parts.metricsUrl
    this.#witnesses = parts.witnesses
    this.#restingBytes = readResidentBytes(parts.server.pid)
  }

  static async start(engine: Engine): Promise<AttackedServer> {
    const metricsPort = await findFreePort()
    const databases = engine === 'postgres' ? await usePostgres() : undefined
    const databaseUrl = await databases?.createDatabase()
    const server = await startServer({
      ...(databaseUrl !== undefined && { databaseUrl }),
      env: { METRICS_PORT: String(metricsPort) },
      nodeArguments: [`--max-semi-space-size=${semiSpaceMebibytes}`],
    })
    const attacker = await makeAttacker(
      server.url,
      databases !== undefined && databaseUrl !== undefined ? { databases, databaseUrl } : { dataDir: server.dataDir },
    )
    const ada = await HttpUser.signUp(server.url)
    const ben = await HttpUser.signUp(server.url)
    return new AttackedServer({
      server,
      attacker,
      metricsUrl: `http://127.0.0.1:${metricsPort}`,
      witnesses: await Witnesses.connect(server.url, [ada, ben]),
    })
  }

  /**
   * Runs an attack while two members chat. Fails if a member notices it, or if a metric of the
   * server exceeds its limit.
   */
  async withstand<Outcome>(attack: () => Promise<Outcome>): Promise<Outcome> {
    await this.#readLoopBlockSeconds()
    let peakBytes = 0
    const sampling = setInterval(() => {
      peakBytes = Math.max(peakBytes, this.#grownBytes())
    }, sampleIntervalMs)
    const { outcome, report } = await this.#witnesses.chatDuring(attack)
    clearInterval(sampling)
    const loopBlockSeconds = await this.#readLoopBlockSeconds()
    expect.soft(report.failures, 'sends of others that were not acknowledged').toEqual([])
    expect.soft(report.acknowledged, 'acknowledged sends of others').toBeGreaterThan(0)
    expect.soft(report.disconnections, 'disconnections of others').toEqual([])
    expect.soft(loopBlockSeconds, 'longest block of the event loop, in seconds').toBeLessThan(loopBlockMaxSeconds)
    expect.soft(peakBytes, 'growth of resident memory during the attack').toBeLessThan(peakMaxBytes)
    await waitForFact(() => this.#grownBytes() < settledMaxBytes, {
      what: `resident memory less than ${settledMaxBytes} bytes above the start`,
      timeoutMs: settleTimeoutMs,
    })
    return outcome
  }

  async stop(): Promise<void> {
    this.#witnesses.close()
    await this.server.remove()
  }

  #grownBytes(): number {
    return readResidentBytes(this.server.pid) - this.#restingBytes
  }

  /**
   * Returns the longest delay of the server's event loop since the previous call, as the server's
   * own metric reports it.
   */
  async #readLoopBlockSeconds(): Promise<number> {
    const { body } = await HttpUser.stranger(this.#metricsUrl).expect<string>(200, 'GET', '/metrics')
    const value = /^chorus_event_loop_lag_seconds\{quantile="1"\} (\S+)$/m.exec(body)?.[1]
    if (value === undefined) throw new Error('unable to read the lag of the event loop; the server names none')
    return Number(value)
  }
}
