/**
 * Publishes hints to Redis without making the caller wait.
 *
 * Each channel has one message in flight at a time. Hints that the server publishes during that
 * time, or within the same turn of the event loop, queue behind it. Consecutive changes are merged
 * into one message. All queues are bounded. Hints over the limit of a queue are dropped, because
 * the sweep finds the same changes. While Redis cannot be reached nothing is queued, so no outdated
 * hint arrives late.
 */
import type { LoggedChange } from '../support/logged-change.ts'
import type { Redis } from '../redis/redis.ts'
import { type BusCodec, codecLimits } from './bus-codec.ts'
import type { BusObserver } from './bus-observer.ts'
import { nameOf } from './bus-redis-channels.ts'
import type { BusChannel, BusMessage } from './bus.ts'

export const publisherLimits = {
  /** Maximum number of bus messages in flight to Redis. */
  underWayMax: 512,
  /** Maximum number of bytes of JSON in the publishing queues. */
  waitingMaxBytes: 8_388_608,
  /** Maximum number of queued messages over all channels. */
  waitingMax: 20_000,
  /**
   * Maximum size of changes of one conversation that are merged into one message. A larger change
   * is sent alone.
   */
  togetherMaxBytes: 262_144,
} as const

interface Waiting {
  message: BusMessage
  bytes: number
  /**
   * The changes of `message`, set once further changes were merged into it. Later changes are
   * appended to this list.
   */
  gathered: LoggedChange[] | undefined
}

interface Outgoing {
  readonly waiting: Waiting[]
  isUnderWay: boolean
}

export class BusPublisher {
  readonly #redis: Redis
  readonly #codec: BusCodec
  readonly #observer: BusObserver
  readonly #channels = new Map<BusChannel, Outgoing>()
  /** Channels with a queued message that may be sent now. */
  readonly #ready = new Set<BusChannel>()
  #isScheduled = false
  #isClosed = false
  #underWay = 0
  #waiting = 0
  #waitingBytes = 0
  readonly #flushed: (() => void)[] = []

  constructor(redis: Redis, codec: BusCodec, observer: BusObserver) {
    this.#redis = redis
    this.#codec = codec
    this.#observer = observer
  }

  get underWay(): number {
    return this.#underWay
  }

  get waitingBytes(): number {
    return this.#waitingBytes
  }

  get waiting(): number {
    return this.#waiting
  }

  publish(channel: BusChannel, message: BusMessage): void {
    if (this.#isClosed) return
    if (this.#redis.problem() !== undefined) {
      this.#observer.dropped('away', 1)
      return
    }
    if (message.kind === 'changes' && message.changes.length === 1) this.#add(channel, message)
    else for (const part of split(message)) this.#add(channel, part)
    if (this.#channels.get(channel)?.isUnderWay === false) this.#makeReady(channel)
  }

  /** Resolves when no message is queued or in flight. */
  async whenFlushed(): Promise<void> {
    while (!this.#isClosed && (this.#underWay > 0 || this.#waiting > 0))
      await new Promise<void>((resolve) => this.#flushed.push(resolve))
  }

  /** Drops queued messages. Messages in flight may still arrive. */
  close(): void {
    this.#isClosed = true
    this.#channels.clear()
    this.#ready.clear()
    this.#tellFlushed()
  }

  #add(channel: BusChannel, message: BusMessage): void {
    const bytes = bytesOf(message)
    if (this.#waiting >= publisherLimits.waitingMax || this.#waitingBytes + bytes > publisherLimits.waitingMaxBytes) {
      this.#observer.dropped('queue', 1)
      return
    }
    let outgoing = this.#channels.get(channel)
    if (outgoing === undefined) {
      outgoing = { waiting: [], isUnderWay: false }
      this.#channels.set(channel, outgoing)
    }
    this.#waitingBytes += bytes
    const last = outgoing.waiting.at(-1)
    if (last !== undefined && join(last, message, bytes)) return
    outgoing.waiting.push({ message, bytes, gathered: undefined })
    this.#waiting++
  }

  #makeReady(channel: BusChannel): void {
    this.#ready.add(channel)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    for (const channel of this.#ready) {
      if (this.#underWay >= publisherLimits.underWayMax) return
      this.#ready.delete(channel)
      const outgoing = this.#channels.get(channel)
      if (outgoing === undefined || outgoing.isUnderWay) continue
      const next = outgoing.waiting.shift()
      if (next === undefined) {
        this.#channels.delete(channel)
        continue
      }
      this.#waiting--
      this.#waitingBytes -= next.bytes
      outgoing.isUnderWay = true
      this.#underWay++
      void this.#send(channel, next.message).then((sent) => {
        this.#underWay--
        outgoing.isUnderWay = false
        if (!sent) this.#forget(channel, outgoing)
        if (outgoing.waiting.length > 0) this.#makeReady(channel)
        else if (this.#channels.get(channel) === outgoing) this.#channels.delete(channel)
        if (this.#ready.size > 0) this.#flush()
        if (this.#underWay === 0) this.#tellFlushed()
      })
    }
  }

  #tellFlushed(): void {
    for (const resolve of this.#flushed.splice(0)) resolve()
  }

  /**
   * Drops the queue of a channel while Redis is slow or cannot be reached: its hints would only
   * arrive late.
   */
  #forget(channel: BusChannel, outgoing: Outgoing): void {
    if (this.#redis.problem() === undefined || this.#channels.get(channel) !== outgoing) return
    for (const { bytes } of outgoing.waiting) this.#waitingBytes -= bytes
    this.#waiting -= outgoing.waiting.length
    this.#observer.dropped('away', outgoing.waiting.length)
    outgoing.waiting.length = 0
  }

  async #send(channel: BusChannel, message: BusMessage): Promise<boolean> {
    const bytes = this.#codec.encode(channel, message)
    if (bytes === undefined) {
      this.#observer.dropped('unsendable', 1)
      return true
    }
    const name = nameOf(this.#redis, channel)
    try {
      await this.#redis.command(name, ['SPUBLISH', name, bytes])
      this.#observer.published(bytes.length)
      return true
    } catch {
      this.#observer.dropped('failed', 1)
      return false
    }
  }
}

const bytesOf = (message: BusMessage): number =>
  64 +
  (message.kind === 'changes'
    ? message.changes.reduce((sum, change) => sum + change.json.length, 0)
    : 'json' in message
      ? message.json.length
      : 0)

/**
 * Splits a bus message to fit the size limits of the codec. A membership change ends a part (rule
 * ACL1).
 */
function* split(message: BusMessage): Generator<BusMessage, void, void> {
  if (message.kind === 'revoked') {
    for (let at = 0; at < message.sessions.length; at += codecLimits.sessionsMax)
      yield { kind: 'revoked', sessions: message.sessions.slice(at, at + codecLimits.sessionsMax) }
    return
  }
  if (message.kind !== 'changes') {
    yield message
    return
  }
  let changes: LoggedChange[] = []
  let bytes = 0
  for (const change of message.changes) {
    const last = changes.at(-1)
    if (last !== undefined && !mayFollow(last, change, changes.length, bytes)) {
      yield { ...message, changes }
      changes = []
      bytes = 0
    }
    changes.push(change)
    bytes += change.json.length
  }
  if (changes.length > 0) yield { ...message, changes }
}

function mayFollow(last: LoggedChange, next: LoggedChange, count: number, bytes: number): boolean {
  return (
    last.effect === undefined &&
    // A removal is always sent in a message of its own.
    next.effect?.kind !== 'left' &&
    next.seq === last.seq + 1 &&
    count < codecLimits.changesMax &&
    bytes + next.json.length <= publisherLimits.togetherMaxBytes
  )
}

/**
 * Merges the changes of `after` into the queued message if they follow its last change. Returns
 * whether they were merged.
 */
function join(waiting: Waiting, after: BusMessage, bytes: number): boolean {
  const before = waiting.message
  if (before.kind !== 'changes' || after.kind !== 'changes' || before.epoch !== after.epoch) return false
  let last = before.changes.at(-1)
  if (before.changes.length + after.changes.length > codecLimits.changesMax) return false
  if (waiting.bytes + bytes > publisherLimits.togetherMaxBytes) return false
  for (const change of after.changes) {
    if (last === undefined || !mayFollow(last, change, 1, 0)) return false
    last = change
  }
  if (waiting.gathered === undefined) {
    waiting.gathered = [...before.changes]
    waiting.message = { ...before, changes: waiting.gathered }
  }
  waiting.gathered.push(...after.changes)
  waiting.bytes += bytes
  return true
}
