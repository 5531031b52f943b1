/**
 * A hostile client with a member's account. It connects with forged cursors and with cursors of
 * other members, requests pages without reading the responses, opens and leaves connections, and
 * floods the server. Everything that it receives is recorded and checked as for any client. Other
 * clients must not be affected. It runs one attack at a time, and each attack ends by itself.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { EngineClient, HttpUser } from '@chorus/testkit'
import type { Random } from '../random/random.ts'
import { cookieHeader } from './person.ts'
import type { Person, SessionSeed } from './person.ts'
import { EventIntake } from './event-intake.ts'
import { forgeCursor } from './forge-cursor.ts'
import { callTimeoutMs, readStart } from './http-calls.ts'
import type { Wire, WireLink } from './raw-actor.ts'
import type { ConnectionIdentity, Recorder } from './recorder.ts'
import { StreamPosition } from './stream-position.ts'

const pauseMinMs = 150
const pauseSpreadMs = 600
/** Duration of recording what arrives on a connection with a forged cursor. */
const listenMs = 2_500
const floodRequests = 60
const unreadBursts = 40
const unreadPerBurst = 10
const unreadBurstMs = 50
const cursorsKept = 50

/**
 * Cursors that the hostile clients of one workload process have seen. Each hostile client may use
 * the cursors of the others.
 */
export class CursorLoot {
  readonly #cursors: string[] = []

  add(cursor: string): void {
    this.#cursors.push(cursor)
    if (this.#cursors.length > cursorsKept) this.#cursors.shift()
  }

  pick(random: Random): string | undefined {
    return this.#cursors.length === 0 ? undefined : random.pick(this.#cursors)
  }
}

type Start = Awaited<ReturnType<typeof readStart>>

export interface HostileClientOptions {
  readonly name: string
  readonly url: string
  readonly person: Person
  readonly session: SessionSeed
  /** Ids of the conversations that the client may use in its attacks. */
  readonly conversations: readonly string[]
  readonly recorder: Recorder
  readonly random: Random
  readonly wires: readonly Wire[]
  readonly loot: CursorLoot
}

export class HostileClient {
  readonly #options: HostileClientOptions
  readonly #http: HttpUser
  readonly #stop = new AbortController()
  #connections = 0
  #running: Promise<void> | undefined

  constructor(options: HostileClientOptions) {
    this.#options = options
    this.#http = HttpUser.stranger(options.url)
    this.#http.cookie = cookieHeader(options.session)
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { random } = this.#options
    while (!this.#stop.signal.aborted) {
      await this.#rest(pauseMinMs + random.next() * pauseSpreadMs)
      try {
        await this.#attack()
      } catch {
        // An attack may fail, because the chaos test breaks servers on purpose.
      }
    }
  }

  async #attack(): Promise<void> {
    const { random, loot } = this.#options
    const attack = random.pick(['forged', 'forged', 'replayed', 'unread', 'flood', 'leave'] as const)
    switch (attack) {
      case 'forged':
        return this.#listen(listenMs, ({ cursor, tops }) => {
          const [conversation, top] = random.pick([...tops])
          return forgeCursor(cursor, conversation, top, random)
        })
      case 'replayed':
        return this.#listen(listenMs, ({ cursor }) => loot.pick(random) ?? cursor)
      case 'unread':
        return this.#askWithoutReading()
      case 'flood':
        return this.#flood()
      case 'leave':
        return this.#listen(0, ({ cursor }) => cursor)
    }
  }

  /**
   * Connects with a cursor that `choose` makes from a real one. Records what arrives as a separate
   * stream.
   */
  async #listen(forMs: number, choose: (start: Start) => string): Promise<void> {
    const { name, person, session, recorder, random, wires, loot } = this.#options
    const start = await readStart(this.#http)
    const cursor = choose(start)
    loot.add(start.cursor)
    const wire = random.pick(wires)
    this.#connections += 1
    const identity: ConnectionIdentity = {
      connection: `${name}#${this.#connections}`,
      process: name,
      user: person.id,
      session: session.id,
    }
    recorder.observer({
      observer: identity.connection,
      stream: identity.connection,
      kind: wire.kind,
      process: name,
      user: person.id,
      session: session.id,
    })
    recorder.rebase(identity.connection, 'start')
    let link: WireLink | undefined
    await new Promise<void>((resolve) => {
      const intake = new EventIntake(
        {
          recorder,
          position: new StreamPosition(),
          identity,
          onReady: () => undefined,
          onCursor: (next) => loot.add(next),
          onReset: () => undefined,
          onMoving: () => undefined,
          onClosing: () => undefined,
        },
        start.epoch,
      )
      link = wire.connect(
        { cookie: cookieHeader(session), cursor },
        {
          onOpen: () => recorder.connection(identity, 'open'),
          onEvent: (event) => intake.take(event),
          onEnd: () => resolve(),
        },
      )
      void this.#rest(forMs).then(resolve)
    })
    link?.close()
    recorder.connection(identity, 'closed', { code: 'left' })
  }

  /**
   * Requests pages without reading the responses, until the server closes the connection or the
   * attack ends.
   */
  async #askWithoutReading(): Promise<void> {
    const { url, session } = this.#options
    const client = EngineClient.open(url, { cookie: cookieHeader(session) })
    client.ws.once('open', () => client.send('40'))
    try {
      await client.waitForPacket((packet) => packet.startsWith('42["ready"'), 'ready', callTimeoutMs)
      client.pause()
      for (let burst = 0; burst < unreadBursts && !client.isClosed && !this.#stop.signal.aborted; burst++) {
        for (let n = 0; n < unreadPerBurst; n++) client.send(`42${burst * unreadPerBurst + n}["sync",{"limit":200}]`)
        await this.#rest(unreadBurstMs)
      }
    } finally {
      client.close()
    }
  }

  async #flood(): Promise<void> {
    const { conversations, random } = this.#options
    const paths = ['/v1/conversations?limit=200', '/v1/sync', '/v1/channels', '/v1/users?q=p', '/v1/sessions']
    const place = `/v1/conversations/${random.pick(conversations)}`
    const own = [
      `${place}/messages?limit=200`,
      `${place}/members?limit=200`,
      `${place}/live`,
      `${place}/changes?after=0`,
    ]
    await Promise.all(
      Array.from({ length: floodRequests }, () =>
        this.#http
          .call('GET', random.pick([...paths, ...own]), undefined, { timeoutMs: callTimeoutMs })
          .catch(() => undefined),
      ),
    )
  }

  /** Waits for this time. Ends early when the client is stopped. */
  async #rest(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined)
  }
}
