/**
 * The commands of one socket: each is dispatched in the turn in which it came and answered when it is done. More than a
 * bounded number under way are refused; a socket that goes on far beyond its limits is closed. Responses leave through the
 * outbound queue of the connection: a client that does not read them is closed as slow, and nothing more is run for it.
 */
import { ChorusError } from '@chorus/protocol'
import type { CommandContext } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import type { Connection } from '../fanout/connection.ts'
import { Answer } from '../fanout/frame.ts'
import type { Dispatch, SocketRequest } from './dispatch.ts'
import { answerPacket, type EventPacket } from './event-packet.ts'
import type { PacketTaker } from './socket-io-transport.ts'

export const commandBounds = {
  /** Commands that are being worked on or wait for their turn; beyond it they are refused. */
  inFlightMax: 500,
  /** Pages of a `sync` that are read at a time: each may hold 256 kB. */
  syncsMax: 2,
  /** Refusals for rate in a row; then the connection is closed. */
  rateRefusalsMax: 500,
} as const

export class SocketCommands implements PacketTaker {
  readonly connection: Connection
  readonly #context: CommandContext
  readonly #dispatch: Dispatch
  #inFlight = 0
  #refusals = 0
  #syncs = 0
  /** At most `inFlightMax`. */
  readonly #waitingSyncs: (() => void)[] = []

  constructor(
    from: { readonly parts: Parts; readonly connection: Connection; readonly address: string },
    dispatch: Dispatch,
  ) {
    const { user: userId, session: sessionId } = from.connection
    this.connection = from.connection
    this.#context = { ...from, actor: { userId, sessionId }, userAgent: null }
    this.#dispatch = dispatch
  }

  take({ id, name, json }: EventPacket): void {
    if (name === 'sync') void this.#serveSync(id, { kind: 'event', name, json })
    else void this.#serve(id, { kind: 'event', name, json })
  }

  refuseBinary(id: number | undefined): void {
    void this.#serve(id, { kind: 'binary' })
  }

  endForBinary(): void {
    this.connection.close('invalid', 'unable to keep the connection; it sends binary data', 'never')
  }

  /** The order of reads does not matter, so a `sync` may wait; one that waits when the connection closes is not run. */
  async #serveSync(id: number | undefined, request: SocketRequest): Promise<void> {
    if (this.#syncs < commandBounds.syncsMax || this.#inFlight >= commandBounds.inFlightMax) {
      await this.#runSync(id, request)
      return
    }
    this.#inFlight++
    await new Promise<void>((resolve) => this.#waitingSyncs.push(resolve))
    this.#inFlight--
    await this.#runSync(id, request)
  }

  async #runSync(id: number | undefined, request: SocketRequest): Promise<void> {
    this.#syncs++
    await this.#serve(id, request)
    this.#syncs--
    this.#waitingSyncs.shift()?.()
  }

  // Handlers begin in the order of arrival and reach the log within the same turn, so a connection's commands for one
  // conversation keep their order (ORD2).
  async #serve(id: number | undefined, request: SocketRequest): Promise<void> {
    if (!this.connection.isOpen) return
    if (this.#inFlight >= commandBounds.inFlightMax) {
      const refusal = new ChorusError(
        'rate-limited',
        'unable to answer; too many commands of this connection are waiting',
        { retryAfterMs: 500 },
      )
      this.#answer(id, { ok: false, error: refusal.toBody() })
      return
    }
    this.#inFlight++
    const body = await this.#dispatch(this.#context, request)
    this.#inFlight--
    this.#answer(id, body)
  }

  #answer(id: number | undefined, body: object): void {
    if (id !== undefined) this.connection.answer(new Answer(answerPacket(id, body)))
    const code = 'error' in body ? (body.error as { code: string }).code : undefined
    this.#refusals = code === 'rate-limited' ? this.#refusals + 1 : 0
    if (this.#refusals > commandBounds.rateRefusalsMax)
      this.connection.close('rate-limited', 'unable to keep the connection; it sends far more than its limit', 'later')
  }
}
