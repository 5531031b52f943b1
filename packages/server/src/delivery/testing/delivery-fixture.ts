/** A fixture with feeds over a log in memory. The test controls the hints and the clock. */
import type { Id } from '@chorus/protocol'
import { ManualClock } from '../../support/testing/manual-clock.ts'
import { encodeChange, type LoggedChange } from '../../support/logged-change.ts'
import { LocalBusHub } from '../../bus/bus-local.ts'
import type { Bus } from '../../bus/bus.ts'
import { RecentChangesCache } from '../../catch-up/recent-changes-cache.ts'
import { Connection } from '../connection.ts'
import { changesFrame, frameOf } from '../../frames/frame.ts'
import { Connections } from '../connections.ts'
import { Feeds, type FeedsListener, type FeedsOptions } from '../feeds.ts'
import { OutboundBudget } from '../outbound.ts'
import { RecordingTransport } from './recording-transport.ts'

export const conversation = '01900000-0000-7000-8000-00000000c0de'

const at = '2026-01-01T00:00:00.000Z'

export function messageChange(seq: number, text = `message ${seq}`, where: Id = conversation, xid = seq): LoggedChange {
  return encodeChange(where, xid, {
    seq,
    at,
    actor: 'somebody',
    type: 'message.created',
    message: { conversation: where, seq, version: seq, text } as never,
  })
}

/**
 * Returns an edit as it is published. From then on, the message itself has the new text in the log.
 */
export function editChange(seq: number, target: number, text: string): LoggedChange {
  return encodeChange(conversation, seq, {
    seq,
    at,
    actor: 'somebody',
    type: 'message.edited',
    message: { conversation, seq: target, version: seq, text } as never,
  })
}

/** Returns the deletion of a message as it is published. */
export function deletionChange(seq: number, target: number): LoggedChange {
  return encodeChange(conversation, seq, {
    seq,
    at,
    actor: 'somebody',
    type: 'message.deleted',
    message: { conversation, seq: target, version: seq, text: '' } as never,
  })
}

export function memberChange(
  seq: number,
  type: 'member.joined' | 'member.left',
  user: Id,
  where: Id = conversation,
): LoggedChange {
  return encodeChange(where, seq, { seq, at, actor: 'somebody', type, user, role: 'member' })
}

/** Sends a removal to a connection as connections/send-removal.ts does. */
export function sendRemoval(connection: Connection, removal: LoggedChange): void {
  const { seq } = removal
  connection.send(frameOf('conversation', { conversation, left: true, seq, readSeq: seq, unread: 0 }))
  connection.send(changesFrame(conversation, [removal]))
}

export class DeliveryFixture {
  readonly clock = new ManualClock()
  readonly hub = new LocalBusHub()
  /** The bus of another server. */
  readonly elsewhere: Bus = this.hub.join()
  readonly bus: Bus = this.hub.join()
  readonly connections = new Connections()
  readonly budget = new OutboundBudget()
  readonly log: LoggedChange[] = []
  readonly reads: { from: number; to: number }[] = []
  readonly failures: unknown[] = []
  repaired = 0
  /** Errors thrown by the next reads, one for each read. */
  readonly readErrors: Error[] = []
  readonly joined: Id[] = []
  readonly left: Id[] = []
  readonly unsubscribed: Connection[] = []
  readonly recent: RecentChangesCache
  readonly feeds: Feeds
  #nextId = 1

  constructor({
    recentBytesMax,
    ...overrides
  }: Partial<FeedsOptions & FeedsListener> & { readonly recentBytesMax?: number } = {}) {
    this.recent = new RecentChangesCache({
      read: async (wanted, { atMost }) => new Map(wanted.map(({ conversation: id }) => [id, this.log.slice(-atMost)])),
      clock: this.clock,
      epoch: () => 'epoch',
      ...(recentBytesMax !== undefined && { bytesMax: recentBytesMax }),
    })
    this.feeds = new Feeds({
      bus: this.bus,
      connections: this.connections,
      clock: this.clock,
      observer: {
        delivered: () => undefined,
        repaired: (changes) => {
          this.repaired += changes
        },
        repairFailed: (error) => void this.failures.push(error),
      },
      readGap: async ({ from, to }, limit) => {
        this.reads.push({ from, to })
        const error = this.readErrors.shift()
        if (error !== undefined) throw error
        const changes = this.log.filter(({ seq }) => seq >= from && seq <= to).slice(0, limit)
        return { changes, asOf: this.log.length, removals: this.removalsSince(from) }
      },
      catchUp: this.recent,
      epoch: () => 'epoch',
      onForeignEpoch: () => undefined,
      ...overrides,
    })
    this.feeds.listen({
      onJoined: (_conversation, user) => void this.joined.push(user),
      onLeft: (_conversation, user) => void this.left.push(user),
      onUnsubscribed: (_conversation, connections) => void this.unsubscribed.push(...connections),
      onBusMessage: () => undefined,
      ...overrides,
    })
  }

  connect(user: Id, session: Id = user): { connection: Connection; transport: RecordingTransport } {
    const transport = new RecordingTransport()
    const connection = new Connection({
      id: this.#nextId++,
      user,
      session,
      transport,
      budget: this.budget,
      expiresAtMs: Number.POSITIVE_INFINITY,
      onClosed: (closed) => {
        this.connections.delete(closed)
        this.feeds.detach(closed)
      },
    })
    this.connections.add(connection)
    connection.becomeReady()
    return { connection, transport }
  }

  /** Opens a subscribed connection whose client has everything up to `seq`. */
  async subscribe(user: Id, seq: number) {
    const opened = this.connect(user)
    const { feed, join } = await this.feeds.join(conversation, opened.connection)
    feed.finishJoin(join, seq)
    return { ...opened, feed }
  }

  append(...changes: LoggedChange[]): void {
    this.log.push(...changes)
  }

  /** Returns the removals at or after this seq of users who have not joined again. */
  removalsSince(from: number): LoggedChange[] {
    const last = new Map<Id, LoggedChange>()
    for (const change of this.log) if (change.effect !== undefined) last.set(change.effect.user, change)
    return [...last.values()].filter(({ seq, effect }) => effect?.kind === 'left' && seq >= from)
  }

  /** Appends an edit and replaces the text of the message in the log. */
  edit(target: number, text: string): void {
    const seq = this.log.length + 1
    const created = JSON.parse(messageChange(target, text).json) as { message: { version: number } }
    created.message.version = seq
    this.log[target - 1] = { ...messageChange(target, text), json: JSON.stringify(created) }
    this.append(editChange(seq, target, text))
  }

  appendMessages(count: number): void {
    for (let index = 0; index < count; index++) this.append(messageChange(this.log.length + 1))
  }

  /** Publishes hints of these seqs from another server. */
  hint(...seqs: number[]): void {
    for (const seq of seqs) {
      const change = this.log[seq - 1]
      if (change === undefined) throw new Error(`no change ${seq}`)
      this.elsewhere.publish(`c:${conversation}`, { kind: 'changes', epoch: 'epoch', conversation, changes: [change] })
    }
  }

  /** Runs all pending work that does not need the clock to advance. */
  async turn(): Promise<void> {
    for (let index = 0; index < 6; index++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Advances the clock until every known change has been delivered. */
  async settle(): Promise<void> {
    for (let index = 0; index < 50; index++) {
      await this.turn()
      if (index > 0 && [...this.feeds.unsettled()].length === 0) return
      this.clock.advance(600)
    }
    throw new Error('the feeds do not settle')
  }
}
