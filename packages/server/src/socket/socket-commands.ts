/**
 * The commands of one socket: each is dispatched in the turn in which it came and answered when it is done. More than a
 * bounded number under way are refused; a socket that goes on far beyond its limits is closed.
 */
import { ChorusError } from '@chorus/protocol'
import type { CommandContext } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import type { Connection } from '../fanout/connection.ts'
import type { Dispatch } from './dispatch.ts'
import type { EventPacket } from './event-packet.ts'
import type { EventTaker, SocketIoTransport } from './socket-io-transport.ts'

const commandBounds = {
  /** Commands that are being worked on; beyond it they are refused. */
  inFlightMax: 500,
  /** Refusals for rate in a row; then the connection is closed. */
  rateRefusalsMax: 500,
} as const

type Answer = (body: object) => void

export class SocketCommands implements EventTaker {
  readonly connection: Connection
  readonly #context: CommandContext
  readonly #transport: SocketIoTransport
  readonly #dispatch: Dispatch
  #inFlight = 0
  #refusals = 0

  constructor(
    from: { readonly parts: Parts; readonly connection: Connection; readonly address: string },
    transport: SocketIoTransport,
    dispatch: Dispatch,
  ) {
    const { user: userId, session: sessionId } = from.connection
    this.connection = from.connection
    this.#context = { ...from, actor: { userId, sessionId }, userAgent: null }
    this.#transport = transport
    this.#dispatch = dispatch
  }

  take({ id, name, payload }: EventPacket): void {
    void this.#serve(name, payload, (body) => {
      if (id !== undefined) this.#transport.answer(id, body)
    })
  }

  /** As Socket.IO hands an event over: its payload, if it has one, and the function that answers, if one is wanted. */
  takeEvent(name: string, [payload, answer]: readonly unknown[]): void {
    const [asked, reply] = typeof payload === 'function' ? [undefined, payload] : [payload, answer]
    void this.#serve(name, asked, (body) => {
      if (typeof reply === 'function') (reply as Answer)(body)
    })
  }

  // Handlers begin in the order of arrival and reach the log within the same turn, so a connection's commands for one
  // conversation keep their order (ORD2).
  async #serve(name: string, payload: unknown, answer: Answer): Promise<void> {
    if (this.#inFlight >= commandBounds.inFlightMax) {
      answer({
        ok: false,
        error: new ChorusError('rate-limited', 'unable to answer; too many commands of this connection are waiting', {
          retryAfterMs: 500,
        }).toBody(),
      })
      return
    }
    this.#inFlight++
    const body = await this.#dispatch(this.#context, name, payload)
    this.#inFlight--
    answer(body)
    const code = 'error' in body ? (body.error as { code: string }).code : undefined
    this.#refusals = code === 'rate-limited' ? this.#refusals + 1 : 0
    if (this.#refusals > commandBounds.rateRefusalsMax)
      this.connection.close('rate-limited', 'unable to keep the connection; it sends far more than its limit', 'later')
  }
}
