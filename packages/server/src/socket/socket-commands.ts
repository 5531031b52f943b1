/**
 * Runs the commands of one socket. Each command starts in the turn of the event loop in which it
 * arrived, and is answered when it is done. Above a maximum number of running commands, further
 * ones are refused. A socket that keeps exceeding its rate limits is closed. Responses are sent
 * through the connection's outbound queue. The connection of a client that does not read its
 * responses is closed as `slow`, and further commands of this client are not run.
 */
import { ChorusError } from '@chorus/protocol'
import type { CommandContext } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import type { Connection } from '../delivery/connection.ts'
import { Answer } from '../frames/frame.ts'
import type { Dispatch, SocketRequest } from './dispatch.ts'
import { answerPacket, type EventPacket } from './event-packet.ts'
import type { PacketTaker } from './socket-io-transport.ts'

export const commandLimits = {
  /** Maximum number of commands that run or wait. Further commands are refused. */
  inFlightMax: 500,
  /**
   * Maximum number of `sync` commands that run at the same time. Each one reads a page of up to 256
   * kB.
   */
  syncsMax: 2,
  /**
   * Maximum number of consecutive commands that are refused as `rate-limited` before the connection
   * is closed.
   */
  rateRefusalsMax: 500,
} as const

export class SocketCommands implements PacketTaker {
  readonly connection: Connection
  readonly #context: CommandContext
  readonly #dispatch: Dispatch
  #inFlight = 0
  #refusals = 0
  #syncs = 0
  /** Functions that start the waiting `sync` commands. There are at most `inFlightMax`. */
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

  /**
   * Runs a `sync` command. It may wait for other `sync` commands, because the order of reads does
   * not matter. If the connection closes while it waits, it is not run.
   */
  async #serveSync(id: number | undefined, request: SocketRequest): Promise<void> {
    if (this.#syncs < commandLimits.syncsMax || this.#inFlight >= commandLimits.inFlightMax) {
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

  // Handlers start in the order of arrival and call the log within the same turn of the event loop.
  // So the commands of a connection for one conversation keep their order (ORD2).
  async #serve(id: number | undefined, request: SocketRequest): Promise<void> {
    if (!this.connection.isOpen) return
    if (this.#inFlight >= commandLimits.inFlightMax) {
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
    if (this.#refusals > commandLimits.rateRefusalsMax)
      this.connection.close('rate-limited', 'unable to keep the connection; it sends far more than its limit', 'later')
  }
}
