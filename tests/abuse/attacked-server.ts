/**
 * A server under attack: default limits, two members who chat, and one signed-in attacker with a world of
 * its own. Judges each attack by what the two members saw and by the server's own figures.
 */
import {
  findFreePort,
  HttpUser,
  insertPeople,
  readResidentBytes,
  startServer,
  usePostgres,
  waitForFact,
} from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { expect } from 'vitest'
import { Witnesses } from './witnesses.ts'
import type { AttackerWorld } from './worst-inputs.ts'

const mebibyte = 1024 * 1024
/** V8 takes up to three times this for young objects before it collects any. */
const semiSpaceMebibytes = 16
/** What a hundred clients that never read may cost (rule SLOW1), and the young generation. */
const settledMaxBytes = (64 + 3 * semiSpaceMebibytes) * mebibyte
/** During an attack also what V8 has not yet collected. */
const peakMaxBytes = 2 * settledMaxBytes
const settleTimeoutMs = 20_000
const sampleIntervalMs = 50
const loopBlockMaxSeconds = 1
/** Sign-ups cost a password hash each, so the embedded engine gets fewer people. */
const peopleCount = { postgres: 110, embedded: 52 } as const
const sessionsOfAttacker = 100

export type Engine = keyof typeof peopleCount

export class AttackedServer {
  readonly server: ServerProcess
  readonly world: AttackerWorld
  readonly #metricsUrl: string
  readonly #cookies: string[]
  readonly #witnesses: Witnesses
  readonly #restingBytes: number

  private constructor(parts: {
    server: ServerProcess
    world: AttackerWorld
    metricsUrl: string
    cookies: string[]
    witnesses: Witnesses
  }) {
    this.server = parts.server
    this.world = parts.world
    this.#metricsUrl = parts.metricsUrl
    this.#cookies = parts.cookies
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
    const people =
      databases !== undefined && databaseUrl !== undefined
        ? (await insertPeople(databases, databaseUrl, peopleCount.postgres, 1)).map(({ id }) => id)
        : await signUpPeople(server.url, peopleCount.embedded)
    const ada = await HttpUser.signUp(server.url)
    const ben = await HttpUser.signUp(server.url)
    const attacker = await HttpUser.signUp(server.url)
    const cookies =
      databases !== undefined && databaseUrl !== undefined
        ? await insertSessions(databases, databaseUrl, attacker)
        : [attacker.cookie ?? '']
    const group = await attacker.createConversation('group', people.slice(0, 50), 'the attacker and others')
    const channel = await attacker.createConversation('channel')
    let topSeq = 0
    for (let n = 0; n < 20; n++) topSeq = (await attacker.send(group, 'm'.repeat(10_000))).seq
    for (let n = 0; n < 20; n++) await attacker.send(channel, `message ${n}`)
    return new AttackedServer({
      server,
      world: {
        conversations: [group, channel],
        users: people,
        sessions: people,
        topSeq: Math.min(topSeq, 20),
        handle: attacker.handle,
        password: 'a wrong password',
      },
      metricsUrl: `http://127.0.0.1:${metricsPort}`,
      cookies,
      witnesses: await Witnesses.connect(server.url, [ada, ben]),
    })
  }

  /** A cookie of the attacker: another session each time where there are several. */
  takeCookie(): string {
    const cookie = this.#cookies.length > 1 ? this.#cookies.pop() : this.#cookies[0]
    if (cookie === undefined) throw new Error('unable to attack; the attacker has no session left')
    return cookie
  }

  /** Runs an attack while two members chat, and fails unless neither of them noticed it. */
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

  /** Longest delay of the event loop since the last call, by the server's own metric. */
  async #readLoopBlockSeconds(): Promise<number> {
    const { body } = await HttpUser.stranger(this.#metricsUrl).expect<string>(200, 'GET', '/metrics')
    const value = /^chorus_event_loop_lag_seconds\{quantile="1"\} (\S+)$/m.exec(body)?.[1]
    if (value === undefined) throw new Error('unable to read the lag of the event loop; the server names none')
    return Number(value)
  }
}

async function signUpPeople(url: string, count: number): Promise<string[]> {
  const ids: string[] = []
  for (let n = 0; n < count; n++) ids.push((await HttpUser.signUp(url)).id)
  return ids
}

async function insertSessions(
  databases: Awaited<ReturnType<typeof usePostgres>>,
  databaseUrl: string,
  attacker: HttpUser,
): Promise<string[]> {
  const [person] = await insertPeople(databases, databaseUrl, 1, sessionsOfAttacker)
  if (person === undefined) throw new Error('unable to insert the sessions of the attacker')
  await databases.query('update sessions set user_id = $1 where user_id = $2', [attacker.id, person.id], databaseUrl)
  return person.sessions.map(({ cookieValue }) => `chorus_session=${cookieValue}`)
}
