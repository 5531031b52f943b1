/**
 * A reconnection storm, run inside the load generator. All clients connect, all connections are cut
 * at once, messages are posted while the clients are offline, and all clients reconnect together,
 * each with its last cursor.
 *
 * The clients' first attempts are spread evenly over `spreadMs`, in random order; a stock Socket.IO
 * client waits 0.5 to 1.5 s before its first attempt. A refused client retries like a stock client
 * (after 1, 2, 4, 5 s, each ± half).
 *
 * Guarantee: every message is accounted for at every member of its conversation. A client is back
 * when it has received `ready` and everything that was acknowledged before the first reconnection
 * attempt. It is an error if a client receives a message twice over one connection. It is no error
 * over two connections, because a cursor may be older than the client's last message.
 */
import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { BitTable } from './bit-table.ts'
import { LatencyHistogram } from './latency-histogram.ts'
import { markText } from './marker.ts'
import { RawConnection } from './raw-connection.ts'
import type { StormJob, StormMember, StormOutcome } from './storm-job.ts'
import type { WorkloadEvents } from './workload.ts'

const openTogether = 64
const postsTogether = 16
const tickMs = 5
const postTimeoutMs = 30_000
const retryFirstMs = 1_000
const retryMaxMs = 5_000

interface Client {
  readonly index: number
  readonly member: StormMember
  connection: RawConnection | undefined
  cursor: string | undefined
  attempts: number
  isReady: boolean
  /** Number of messages that the client missed while offline and has not received yet. */
  missing: number
  isBack: boolean
}

export class Storm {
  readonly #job: StormJob
  readonly #events: WorkloadEvents
  readonly #clients: readonly Client[]
  /** Clients that are members of each conversation, by the conversation's index. */
  readonly #hearers: readonly (readonly Client[])[]
  readonly #agent = new Agent({ keepAlive: true, maxSockets: postsTogether })
  readonly #serialsMax: number
  /** Index of each message's conversation, by the message's number. */
  readonly #conversationOf: Uint32Array
  readonly #isAcknowledged: Uint8Array
  readonly #isMissed: Uint8Array
  /**
   * Messages that each client has received: over its current connection (`#seenNow`), and over any
   * connection (`#seenEver`).
   */
  readonly #seenNow: BitTable
  readonly #seenEver: BitTable

  #sent = 0
  #nextConversation = 0
  #acknowledged = 0
  #refusedPosts = 0
  #expected = 0
  #distinct = 0
  #repeated = 0
  #doubled = 0
  #missed = 0
  #refusedHandshakes = 0
  #firstRefusal: string | undefined
  #disconnected = 0
  #firstProblem: string | undefined
  #opening = 0
  #isStorming = false
  #stormedAtMs = 0
  #back = 0
  readonly #caughtUp = new LatencyHistogram()

  constructor(job: StormJob, events: WorkloadEvents) {
    this.#job = job
    this.#events = events
    this.#clients = job.members.map((member, index) => ({
      index,
      member,
      connection: undefined,
      cursor: undefined,
      attempts: 0,
      isReady: false,
      missing: 0,
      isBack: false,
    }))
    const hearers = job.conversations.map((): Client[] => [])
    for (const client of this.#clients) for (const each of client.member.conversations) hearers[each]?.push(client)
    this.#hearers = hearers
    const longestMs = job.settleMs + job.patienceMs + postTimeoutMs + job.awayMs
    this.#serialsMax = job.missedEach * job.conversations.length + Math.ceil((longestMs * job.postsPerSecond) / 1_000)
    this.#conversationOf = new Uint32Array(this.#serialsMax)
    this.#isAcknowledged = new Uint8Array(this.#serialsMax)
    this.#isMissed = new Uint8Array(this.#serialsMax)
    this.#seenNow = new BitTable(this.#clients.length, this.#serialsMax)
    this.#seenEver = new BitTable(this.#clients.length, this.#serialsMax)
  }

  async run(): Promise<StormOutcome> {
    const { job } = { job: this.#job }
    const connectStartedAtMs = performance.now()
    await this.#connectAll()
    const connectMs = performance.now() - connectStartedAtMs
    const ticker = this.#startPosting()
    await pause(job.settleMs)

    const cutAtMs = performance.now()
    this.#cut()
    await this.#postMissed()
    await pause(Math.max(0, job.awayMs - (performance.now() - cutAtMs)))
    this.#noteMissed()

    const cpuBefore = process.cpuUsage()
    this.#events.measuring()
    this.#stormedAtMs = performance.now()
    await this.#comeBack()
    const measuredMs = performance.now() - this.#stormedAtMs
    const cpu = process.cpuUsage(cpuBefore)
    this.#events.measured()

    clearInterval(ticker)
    await this.#drain()
    const lost = this.#countLost()
    for (const { connection } of this.#clients) connection?.close()
    this.#agent.destroy()
    return {
      connectMs: Math.round(connectMs),
      awayMs: Math.round(this.#stormedAtMs - cutAtMs),
      posted: this.#acknowledged,
      refusedPosts: this.#refusedPosts,
      missed: this.#missed,
      caughtUp: this.#caughtUp.summary(),
      away: this.#clients.length - this.#back,
      refusedHandshakes: this.#refusedHandshakes,
      firstRefusal: this.#firstRefusal,
      lost,
      doubled: this.#doubled,
      repeated: this.#repeated,
      disconnected: this.#disconnected,
      firstProblem: this.#firstProblem,
      measuredMs: Math.round(measuredMs),
      generatorCpuShare: Math.round((cpu.user + cpu.system) / measuredMs) / 1_000,
    }
  }

  async #connectAll(): Promise<void> {
    for (let from = 0; from < this.#clients.length; from += openTogether)
      await Promise.all(this.#clients.slice(from, from + openTogether).map((client) => this.#open(client)))
  }

  async #open(client: Client, onOpened?: () => void): Promise<void> {
    const { host, ports } = this.#job
    const { member, index } = client
    this.#seenNow.clearRow(index)
    const cursorAuth = client.cursor === undefined ? undefined : JSON.stringify({ cursor: client.cursor })
    client.connection = await RawConnection.open({
      host,
      port: ports[index % ports.length] ?? 0,
      cookie: member.cookie,
      auth: member.auth ?? cursorAuth,
      events: {
        acknowledged: () => undefined,
        message: (serial) => this.#onMessage(client, serial),
        settled: () => undefined,
        opened: onOpened,
        cursor: (cursor) => {
          client.cursor = cursor
        },
        ended: (why) => {
          this.#disconnected++
          this.#firstProblem ??= why.slice(0, 300)
        },
      },
    })
  }

  #startPosting(): NodeJS.Timeout | undefined {
    const { posts, postsPerSecond } = this.#job
    return posts && postsPerSecond > 0 ? setInterval(() => void this.#post(), 1_000 / postsPerSecond) : undefined
  }

  #cut(): void {
    for (const client of this.#clients) {
      client.connection?.close()
      client.connection = undefined
      client.isReady = false
    }
  }

  async #postMissed(): Promise<void> {
    const { posts, missedEach, conversations } = this.#job
    let left = posts ? missedEach * conversations.length : 0
    const poster = async (): Promise<void> => {
      while (left > 0) {
        left--
        await this.#post()
      }
    }
    await Promise.all(Array.from({ length: postsTogether }, poster))
  }

  /** Posts one message over HTTP. Never rejects; a failed post is counted. */
  #post(): Promise<void> {
    const { host, ports, conversations, members, textChars } = this.#job
    const index = this.#nextConversation++ % conversations.length
    const conversation = conversations[index]
    const serial = this.#sent
    if (conversation === undefined || serial >= this.#serialsMax) {
      this.#firstProblem ??= `the generator stopped at ${serial} messages`
      return Promise.resolve()
    }
    this.#sent++
    this.#conversationOf[serial] = index
    const body = JSON.stringify({ clientId: randomUUID(), text: markText(serial, textChars) })
    return new Promise((resolve) => {
      const settle = (status: number | string): void => {
        if (status === 201) {
          this.#isAcknowledged[serial] = 1
          this.#acknowledged++
          this.#expected += this.#hearers[index]?.length ?? 0
        } else {
          this.#refusedPosts++
          this.#firstProblem ??= `a message was not accepted: ${status}`
        }
        resolve()
      }
      const outgoing = request(
        {
          host,
          port: ports[serial % ports.length],
          agent: this.#agent,
          method: 'POST',
          path: `/v1/conversations/${conversation.id}/messages`,
          headers: {
            cookie: members[conversation.poster]?.cookie ?? '',
            'content-type': 'application/json',
            'content-length': body.length,
          },
          timeout: postTimeoutMs,
        },
        (incoming) => {
          incoming.resume()
          incoming.once('close', () => settle(incoming.statusCode ?? 0))
        },
      )
      outgoing.once('timeout', () => outgoing.destroy(new Error('no answer')))
      outgoing.once('error', (error) => settle(error.message))
      outgoing.end(body)
    })
  }

  /**
   * Records the messages that each client must catch up: those that are acknowledged now and that
   * the client has not received.
   */
  #noteMissed(): void {
    for (let serial = 0; serial < this.#sent; serial++) {
      if (this.#isAcknowledged[serial] === 0) continue
      this.#isMissed[serial] = 1
      for (const client of this.#hearers[this.#conversationOf[serial] ?? 0] ?? []) {
        if (this.#seenEver.has(client.index, serial)) continue
        client.missing++
        this.#missed++
      }
    }
  }

  async #comeBack(): Promise<void> {
    const { spreadMs, openingMax, patienceMs } = this.#job
    this.#isStorming = true
    const order = shuffle([...this.#clients])
    let due = 0
    let begun = 0
    await new Promise<void>((resolve) => {
      const ticker = setInterval(() => {
        const sinceMs = performance.now() - this.#stormedAtMs
        if (this.#back === this.#clients.length || sinceMs > patienceMs) {
          clearInterval(ticker)
          resolve()
          return
        }
        due = Math.min(order.length, Math.ceil((sinceMs / spreadMs) * order.length))
        for (; begun < due && this.#opening < openingMax; begun++) {
          const client = order[begun]
          if (client !== undefined) void this.#tryOpening(client)
        }
      }, tickMs)
    })
    this.#isStorming = false
  }

  async #tryOpening(client: Client): Promise<void> {
    let isOpening = true
    this.#opening++
    const opened = (): void => {
      if (isOpening) this.#opening--
      isOpening = false
    }
    try {
      await this.#open(client, opened)
      client.isReady = true
      this.#lookWhetherBack(client)
    } catch (error) {
      opened()
      this.#refusedHandshakes++
      this.#firstRefusal ??= error instanceof Error ? error.message.slice(0, 300) : String(error)
      const delayMs = Math.min(retryMaxMs, retryFirstMs * 2 ** client.attempts++) * (0.5 + Math.random())
      setTimeout(() => {
        if (this.#isStorming) void this.#tryOpening(client)
      }, delayMs)
    }
  }

  #lookWhetherBack(client: Client): void {
    if (client.isBack || !client.isReady || client.missing > 0) return
    client.isBack = true
    this.#back++
    this.#caughtUp.record(performance.now() - this.#stormedAtMs)
  }

  #onMessage(client: Client, serial: number): void {
    const { index, member } = client
    if (serial >= this.#sent || !member.conversations.includes(this.#conversationOf[serial] ?? 0)) {
      this.#doubled++
      return
    }
    if (!this.#seenNow.add(index, serial)) {
      this.#doubled++
      return
    }
    if (!this.#seenEver.add(index, serial)) {
      this.#repeated++
      return
    }
    this.#distinct++
    if (this.#isMissed[serial] === 0) return
    client.missing--
    this.#lookWhetherBack(client)
  }

  async #drain(): Promise<void> {
    const giveUpAtMs = performance.now() + this.#job.drainMs
    while (
      (this.#acknowledged + this.#refusedPosts < this.#sent || this.#distinct < this.#expected) &&
      performance.now() < giveUpAtMs
    )
      await pause(20)
    // Wait for repeated deliveries, which arrive soon after the first one.
    await pause(200)
  }

  /** Returns how many deliveries are missing at clients that are back. */
  #countLost(): number {
    let lost = 0
    for (let serial = 0; serial < this.#sent; serial++) {
      if (this.#isAcknowledged[serial] === 0) continue
      for (const { index, isBack } of this.#hearers[this.#conversationOf[serial] ?? 0] ?? [])
        if (isBack && !this.#seenEver.has(index, serial)) lost++
    }
    return lost
  }
}

function shuffle<Item>(items: Item[]): Item[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1))
    ;[items[last], items[other]] = [items[other] as Item, items[last] as Item]
  }
  return items
}
