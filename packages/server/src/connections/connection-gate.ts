/**
 * Opens and closes every connection, for Socket.IO and Server-Sent Events alike. The gate registers
 * a new connection, sends it the changes that its client missed, and removes it when it closes.
 */
import { ChorusError, type Id } from '@chorus/protocol'
import { openConnection } from './open-connection.ts'
import type { Identity } from '../auth/authenticator.ts'
import type { Parts } from '../commands/parts.ts'
import { Connection } from '../delivery/connection.ts'
import { frameOf } from '../frames/frame.ts'
import type { OutboundBudget, Transport } from '../delivery/outbound.ts'
import type { Bus } from '../bus/bus.ts'
import type { Clock } from '../support/clock.ts'

export interface ConnectionGateOptions {
  readonly parts: Parts
  readonly bus: Bus
  readonly budget: OutboundBudget
  readonly clock: Clock
}

export interface MoveDeadline {
  readonly connection: Connection
  readonly byMs: number
}

/**
 * Minimum time until a connection that was asked to move to another server is closed. A client
 * needs time to open its new connection, and to retry.
 */
const earliestMoveMs = 1_000

export class ConnectionGate {
  readonly #parts: Parts
  readonly #bus: Bus
  readonly #budget: OutboundBudget
  readonly #clock: Clock
  #nextId = 1
  #isClosing = false
  #isResetting = false

  constructor({ parts, bus, budget, clock }: ConnectionGateOptions) {
    this.#parts = parts
    this.#bus = bus
    this.#budget = budget
    this.#clock = clock
  }

  /** Error that new connections get while they are refused; undefined while they are accepted. */
  get refusal(): ChorusError | undefined {
    const reason = this.#isClosing
      ? 'the server is stopping'
      : this.#isResetting
        ? 'the database was restored'
        : undefined
    if (reason === undefined) return undefined
    return new ChorusError('unavailable', `unable to connect; ${reason}`, { retryAfterMs: 1_000 })
  }

  open(identity: Identity, transport: Transport, onClosed?: () => void): Connection {
    const { connections, presences } = this.#parts
    const connection = new Connection({
      id: this.#nextId++,
      user: identity.userId,
      session: identity.sessionId,
      credential: identity.credential,
      transport,
      budget: this.#budget,
      expiresAtMs: this.#clock.nowMs() + identity.expiresInMs,
      onClosed:
        onClosed === undefined
          ? this.#forget
          : (closed) => {
              this.#forget(closed)
              onClosed()
            },
    })
    if (connections.ofUser(identity.userId).size === 0) void this.#bus.subscribe(`u:${identity.userId}`)
    connection.openedAtMs = this.#clock.nowMs()
    connections.add(connection)
    presences.arrive(connection)
    return connection
  }

  /**
   * Removes a closed connection from the server. All connections share this one function, because
   * one function per connection would cost memory.
   */
  readonly #forget = (closed: Connection): void => {
    const { connections, presences, feeds, metrics, tokenSessions } = this.#parts
    connections.delete(closed)
    if (closed.credential === 'lone-token') tokenSessions.end(closed.session)
    feeds.detach(closed)
    presences.depart(closed)
    if (connections.ofUser(closed.user).size === 0) this.#bus.unsubscribe(`u:${closed.user}`)
    if (closed.state.kind === 'closed' && closed.state.code === 'slow') metrics.slowCloses.inc({ bound: 'connection' })
  }

  /**
   * Closes connections whose session or token has expired (rules ACL2, TOKEN3). Called once a
   * second, because a timer for each connection would cost more.
   */
  closeExpired(): void {
    const nowMs = this.#clock.nowMs()
    for (const connection of this.#parts.connections) {
      if (connection.expiresAtMs > nowMs) continue
      if (connection.credential === 'cookie')
        connection.close('revoked', 'unable to keep the connection; the session has expired', 'never')
      else connection.close('unauthenticated', 'unable to keep the connection; its token has expired', 'later')
    }
  }

  /**
   * Sends a new connection the missed changes and then `ready`. If that fails, closes the
   * connection, and its client reconnects later.
   */
  bringToPresent(connection: Connection, { user, record }: Identity, cursor: string | undefined): void {
    const request = { connection, cursor, user, session: { ...record, current: true } }
    openConnection(this.#parts, request).catch((error: unknown) => {
      this.#parts.logger.warn({ err: error, user: connection.user }, 'unable to send missed changes to a connection')
      connection.close('unavailable', 'unable to open the connection; the database is unavailable right now', 'later')
    })
  }

  /** Closes the connections of these sessions (rule ACL2). */
  revoke(sessions: readonly Id[]): void {
    for (const session of sessions) {
      for (const connection of [...this.#parts.connections.ofSession(session)]) {
        connection.close('revoked', 'unable to keep the connection; the session was signed out', 'never')
      }
    }
  }

  /**
   * Closes all connections because the database epoch changed: each client must load again. Refuses
   * new connections until {@link endReset}.
   */
  beginReset(): void {
    this.#isResetting = true
    for (const connection of [...this.#parts.connections]) {
      connection.send(frameOf('reset', {}))
      connection.close('unavailable', 'unable to keep the connection; the database was restored', 'later')
    }
  }

  /**
   * Accepts connections again, because this server can serve the new database epoch. Closes
   * connections that opened during the reset, so that they reconnect: no sweep covered that time.
   */
  endReset(): void {
    this.#isResetting = false
    for (const connection of [...this.#parts.connections])
      connection.close('unavailable', 'unable to keep the connection; the database was restored', 'later')
  }

  /** Refuses new connections from now on, because the server is stopping. */
  refuseNew(): void {
    this.#isClosing = true
  }

  /**
   * Asks every connection to move to another server. Each gets its own deadline, so that the
   * clients reconnect elsewhere spread evenly over `overMs`. Returns the deadlines on this server's
   * clock, the earliest first.
   */
  askToMove(overMs: number, reason: 'stopping' | 'cut-off'): MoveDeadline[] {
    const nowMs = this.#clock.nowMs()
    const everybody = shuffle([...this.#parts.connections])
    const earliestMs = Math.min(earliestMoveMs, overMs / 4)
    this.#parts.metrics.movesAsked.inc({ reason }, everybody.length)
    const stepMs = (overMs - earliestMs) / Math.max(1, everybody.length)
    return everybody.map((connection, index) => {
      const inMs = Math.round(earliestMs + (index + Math.random()) * stepMs)
      connection.send(frameOf('moving', { inMs }))
      return { connection, byMs: nowMs + inMs }
    })
  }

  /** Closes a connection that was asked to move to another server and has not moved. */
  closeLeft(connection: Connection): void {
    connection.close('stopping', 'unable to keep the connection; the server is stopping', 'later')
  }

  get size(): number {
    return this.#parts.connections.size
  }

  /** Number of connections opened plus number closed, since the start. */
  get turnover(): number {
    return 2 * (this.#nextId - 1) - this.size
  }

  /** Closes all remaining connections, because the server is stopping. */
  closeAll(): void {
    for (const connection of [...this.#parts.connections]) this.closeLeft(connection)
  }
}

/** Shuffles the connections, so that the members of one conversation do not all move at once. */
function shuffle<T>(list: T[]): T[] {
  for (let last = list.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1))
    ;[list[last], list[other]] = [list[other] as T, list[last] as T]
  }
  return list
}
