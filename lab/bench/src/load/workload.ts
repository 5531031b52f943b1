/**
 * One measured run, inside the load generator. It opens the connections, warms up, measures, stops
 * sending, waits for deliveries that are still on their way, and counts the results.
 *
 * Guarantee: every message and every connection is accounted for exactly. A message that one
 * connection received twice cannot hide that another connection never received it.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Job, MemberSpec, Outcome, SenderSpec } from './job.ts'
import { LatencyHistogram } from './latency-histogram.ts'
import { markText, serialsMax } from './marker.ts'
import { RawConnection } from './raw-connection.ts'

const openTogether = 64
const tickMs = 1
/**
 * Maximum number of unacknowledged messages at a fixed sending rate. When it is reached, the load
 * generator sends no more until acknowledgements arrive.
 */
const unacknowledgedMax = 20_000
/**
 * When the send timer fires late, the load generator also sends the messages that were due in the
 * meantime, but those of at most this many milliseconds.
 */
const catchUpMaxMs = 100
/**
 * The latency of every delivery is recorded only for one message in this many. For all other
 * messages, only the latency of the last delivery is recorded. All messages are counted.
 */
const timedEvery = 8
const settleMs = 100

/** An acknowledgement has the form `43<id>[{"ok":true` or `43<id>[{"ok":false`. */
const openingBracket = 0x5b
const okOffset = '[{"ok":'.length
const letterT = 0x74

interface Sender {
  readonly index: number
  readonly spec: SenderSpec
  readonly connection: RawConnection
  readonly group: number
  readonly hearers: number
}

export interface WorkloadEvents {
  /** Called when the measurement begins. The handler reads the servers' processor time. */
  measuring(): void
  measured(): void
}

export class Workload {
  readonly #job: Job
  readonly #events: WorkloadEvents
  readonly #connections: RawConnection[] = []
  readonly #senders: Sender[] = []

  /** Data of each message, by the message's number. */
  readonly #sentAtMs = new Float64Array(serialsMax)
  readonly #hearersLeft = new Int32Array(serialsMax)
  readonly #senderOf = new Uint16Array(serialsMax)
  readonly #isAcknowledged = new Uint8Array(serialsMax)
  /** Number of messages that each connection received, by the connection's index. */
  readonly #heardBy: Uint32Array

  #sent = 0
  #acknowledged = 0
  #refused = 0
  #firstRefusal: string | undefined
  #delivered = 0
  /** Number of deliveries that the messages acknowledged so far require. */
  #expected = 0
  /** Number of messages that arrived at connections that must not receive them. */
  #misled = 0
  #strays = 0
  /**
   * Indices of connections that closed early. Messages that they did not receive are not counted as
   * lost.
   */
  readonly #ended = new Set<number>()
  #firstProblem: string | undefined
  #isSending = false
  #isMeasuring = false
  /**
   * Messages sent during the measurement have numbers from `#timedFrom` to `#timedTo`. Their
   * latencies are recorded, however late the messages arrive.
   */
  #timedFrom = serialsMax
  #timedTo = serialsMax
  #nextSender = 0
  /**
   * Time of the last read from a socket. All messages of one read get this time; undefined after
   * the read was handled.
   */
  #readAtMs: number | undefined

  #measuredAcknowledged = 0
  #measuredDelivered = 0
  readonly #acknowledgement = new LatencyHistogram()
  readonly #delivery = new LatencyHistogram()
  readonly #lastDelivery = new LatencyHistogram()

  constructor(job: Job, events: WorkloadEvents) {
    this.#job = job
    this.#events = events
    this.#heardBy = new Uint32Array(job.members.length)
  }

  async run(): Promise<Outcome> {
    const connectStartedAtMs = performance.now()
    await this.#connect()
    const connectMs = performance.now() - connectStartedAtMs

    this.#isSending = true
    const ticker = this.#startLoad()
    await pause(this.#job.warmUpMs)
    const cpuBefore = process.cpuUsage()
    const startedAtMs = performance.now()
    this.#isMeasuring = true
    this.#timedFrom = this.#sent
    this.#events.measuring()
    await pause(this.#job.measureMs)
    this.#isMeasuring = false
    this.#timedTo = this.#sent
    const durationMs = performance.now() - startedAtMs
    const cpu = process.cpuUsage(cpuBefore)
    this.#events.measured()
    this.#isSending = false
    clearInterval(ticker)

    const drainStartedAtMs = performance.now()
    const isFlowing = await this.#drain()
    const drainMs = performance.now() - drainStartedAtMs
    // Wait for repeated deliveries, which arrive soon after the first one.
    await pause(settleMs)
    const { lost, doubled } = this.#settleAccount()
    for (const connection of this.#connections) connection.close()
    return {
      connectMs: Math.round(connectMs),
      sent: this.#sent,
      acknowledged: this.#acknowledged,
      refused: this.#refused,
      firstRefusal: this.#firstRefusal,
      expected: this.#expected,
      delivered: this.#delivered,
      lost: isFlowing ? 0 : lost,
      doubled,
      late: isFlowing ? lost : 0,
      strays: this.#strays,
      disconnected: this.#ended.size,
      firstProblem: this.#firstProblem,
      drainMs: Math.round(drainMs),
      measured: {
        durationMs: Math.round(durationMs),
        acknowledged: this.#measuredAcknowledged,
        delivered: this.#measuredDelivered,
        acknowledgement: this.#acknowledgement.summary(),
        delivery: this.#delivery.summary(),
        lastDelivery: this.#lastDelivery.summary(),
        generatorCpuShare: Math.round((cpu.user + cpu.system) / durationMs) / 1_000,
      },
    }
  }

  async #connect(): Promise<void> {
    const { members, senders } = this.#job
    for (let from = 0; from < members.length; from += openTogether) {
      const together = members.slice(from, from + openTogether)
      const opened = await Promise.all(together.map((member, index) => this.#open(member, from + index)))
      this.#connections.push(...opened)
    }
    const hearersOf = new Map<number, number>()
    for (const { group, hears } of members) if (hears) hearersOf.set(group, (hearersOf.get(group) ?? 0) + 1)
    for (const [index, spec] of senders.entries()) {
      const connection = this.#connections[spec.member]
      const group = members[spec.member]?.group
      if (connection === undefined || group === undefined)
        throw new Error(`unable to send as connection ${spec.member}; there is none`)
      this.#senders.push({ index, spec, connection, group, hearers: hearersOf.get(group) ?? 0 })
    }
  }

  #open(member: MemberSpec, index: number): Promise<RawConnection> {
    return RawConnection.open({
      host: this.#job.host,
      port: this.#job.ports[index % this.#job.ports.length] ?? 0,
      cookie: member.cookie,
      auth: member.auth,
      plainPath: member.plainPath,
      events: {
        acknowledged: (bytes, from, to) => this.#onAcknowledged(bytes, from, to),
        message: (serial) => this.#onMessage(index, member, serial),
        settled: () => {
          this.#readAtMs = undefined
        },
        ended: (why) => {
          this.#ended.add(index)
          this.#firstProblem ??= why.slice(0, 300)
        },
      },
    })
  }

  #startLoad(): NodeJS.Timeout | undefined {
    const { load } = this.#job
    switch (load.kind) {
      case 'window':
        for (const sender of this.#senders) {
          for (let index = 0; index < load.window; index++) this.#send(sender)
          sender.connection.flush()
        }
        return undefined
      case 'rate':
        return this.#startTicking(load.perSecond)
      case 'idle':
        return undefined
    }
  }

  #startTicking(perSecond: number): NodeJS.Timeout {
    let lastMs = performance.now()
    let due = 0
    return setInterval(() => {
      const nowMs = performance.now()
      due += (Math.min(nowMs - lastMs, catchUpMaxMs) * perSecond) / 1_000
      lastMs = nowMs
      for (; due >= 1; due--) {
        if (this.#sent - this.#acknowledged - this.#refused >= unacknowledgedMax) continue
        const sender = this.#senders[this.#nextSender++ % this.#senders.length]
        if (sender === undefined) continue
        this.#send(sender)
        sender.connection.flush()
      }
    }, tickMs)
  }

  #send({ index, spec, connection, hearers }: Sender): void {
    const serial = this.#sent
    if (serial >= serialsMax) {
      this.#isSending = false
      this.#firstProblem ??= `the generator stopped at ${serialsMax} messages`
      return
    }
    this.#sent++
    this.#senderOf[serial] = index
    this.#hearersLeft[serial] = hearers
    this.#sentAtMs[serial] = performance.now()
    const text = markText(this.#job.firstSerial + serial, this.#job.textChars)
    if (this.#job.members[spec.member]?.plainPath !== undefined) {
      connection.queue(text)
      return
    }
    const clientId = spec.clientIds ? `"clientId":"${randomUUID()}",` : ''
    connection.queue(`42${serial}["send",${spec.payloadHead}${clientId}"text":"${text}"}]`)
  }

  #onAcknowledged(bytes: Buffer, from: number, to: number): void {
    let at = from + 2
    let serial = 0
    for (; at < to && bytes[at] !== openingBracket; at++) serial = serial * 10 + ((bytes[at] ?? 0) - 0x30)
    if (bytes[at + okOffset] === letterT) {
      this.#noteAcknowledged(serial)
    } else {
      this.#refused++
      this.#firstRefusal ??= bytes.toString('utf8', at, Math.min(to, at + 300))
    }
    this.#sendNext(serial)
  }

  #noteAcknowledged(serial: number): void {
    this.#acknowledged++
    this.#isAcknowledged[serial] = 1
    this.#expected += this.#senders[this.#senderOf[serial] ?? 0]?.hearers ?? 0
    if (this.#isMeasuring) this.#measuredAcknowledged++
    if (this.#isTimed(serial)) this.#acknowledgement.record(this.#nowMs() - (this.#sentAtMs[serial] ?? 0))
  }

  #sendNext(serial: number): void {
    if (!this.#isSending || this.#job.load.kind !== 'window') return
    const sender = this.#senders[this.#senderOf[serial] ?? 0]
    if (sender !== undefined) this.#send(sender)
  }

  #isTimed(serial: number): boolean {
    return serial >= this.#timedFrom && serial < this.#timedTo
  }

  #onMessage(member: number, { group, hears, plainPath }: MemberSpec, marked: number): void {
    const serial = marked - this.#job.firstSerial
    if (serial < 0 || serial >= serialsMax) {
      this.#strays++
      return
    }
    const sender = this.#senders[this.#senderOf[serial] ?? 0]
    if (serial >= this.#sent || !hears || sender?.group !== group) {
      this.#misled++
      return
    }
    if (plainPath !== undefined && sender.spec.member === member && this.#isAcknowledged[serial] === 0) {
      this.#noteAcknowledged(serial)
      this.#sendNext(serial)
    }
    this.#delivered++
    this.#heardBy[member] = (this.#heardBy[member] ?? 0) + 1
    const left = (this.#hearersLeft[serial] ?? 0) - 1
    this.#hearersLeft[serial] = left
    if (this.#isMeasuring) this.#measuredDelivered++
    if (!this.#isTimed(serial)) return
    const isLast = left === 0
    if (!isLast && serial % timedEvery !== 0) return
    const latencyMs = this.#nowMs() - (this.#sentAtMs[serial] ?? 0)
    if (serial % timedEvery === 0) this.#delivery.record(latencyMs)
    if (isLast) this.#lastDelivery.record(latencyMs)
  }

  #nowMs(): number {
    this.#readAtMs ??= performance.now()
    return this.#readAtMs
  }

  /**
   * Waits until every sent message has a response and every acknowledged message is delivered. The
   * wait is limited, because a server that acknowledges early can have a backlog of minutes.
   * Returns true if the time ran out while deliveries were still arriving.
   */
  async #drain(): Promise<boolean> {
    const { drainMs } = this.#job
    const startedAtMs = performance.now()
    let seen = -1
    let movedAtMs = startedAtMs
    while (this.#acknowledged + this.#refused < this.#sent || this.#delivered < this.#expected) {
      const moved = this.#acknowledged + this.#refused + this.#delivered
      if (moved !== seen) {
        seen = moved
        movedAtMs = performance.now()
      }
      const nowMs = performance.now()
      if (nowMs - startedAtMs > drainMs) return nowMs - movedAtMs < drainMs / 2
      await pause(5)
    }
    return false
  }

  /**
   * Counts lost and repeated deliveries in two ways, by message and by connection, and returns the
   * larger counts. If a connection closed early, counts losses only by connection.
   */
  #settleAccount(): { readonly lost: number; readonly doubled: number } {
    let lostMessages = 0
    let doubledMessages = 0
    const acknowledgedOf = new Map<number, number>()
    for (let serial = 0; serial < this.#sent; serial++) {
      const left = this.#hearersLeft[serial] ?? 0
      if (left < 0) doubledMessages -= left
      if (this.#isAcknowledged[serial] === 0) continue
      if (left > 0) lostMessages += left
      const group = this.#senders[this.#senderOf[serial] ?? 0]?.group ?? 0
      acknowledgedOf.set(group, (acknowledgedOf.get(group) ?? 0) + 1)
    }
    let lostDeliveries = 0
    let doubledDeliveries = 0
    for (const [index, { group, hears }] of this.#job.members.entries()) {
      const surplus = (this.#heardBy[index] ?? 0) - (hears ? (acknowledgedOf.get(group) ?? 0) : 0)
      // More deliveries than acknowledged messages are repeats only if every message was
      // acknowledged. The server may also have delivered a message that it did not acknowledge.
      if (surplus > 0 && this.#acknowledged === this.#sent) doubledDeliveries += surplus
      if (surplus < 0 && !this.#ended.has(index)) lostDeliveries -= surplus
    }
    return {
      lost: this.#ended.size > 0 ? lostDeliveries : Math.max(lostMessages, lostDeliveries),
      doubled: Math.max(doubledMessages, doubledDeliveries) + this.#misled,
    }
  }
}
