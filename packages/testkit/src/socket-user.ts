/**
 * A user with a standard socket.io-client, without the SDK. It stores every event in order and
 * sends commands by their event names. Reconnection is off by default, so that a test sees every
 * disconnect.
 */
import { io } from 'socket.io-client'
import type { ManagerOptions, Socket, SocketOptions } from 'socket.io-client'
import { patienceMs, waitForFact } from './wait-for-fact.ts'

const keptEventsMax = 100_000
const connectTimeoutMs = 10_000
const acknowledgementTimeoutMs = 20_000

export interface ReceivedEvent<Payload = unknown> {
  readonly name: string
  readonly payload: Payload
}

export interface SocketUserOptions {
  readonly cookie?: string | undefined
  readonly cursor?: string
  readonly transports?: ('websocket' | 'polling')[]
  readonly headers?: Readonly<Record<string, string>>
  readonly client?: Partial<ManagerOptions & SocketOptions>
}

/** An acknowledgement: `{ok: true, …}` or `{ok: false, error}`. */
export type Acknowledgement = {
  readonly ok: boolean
  readonly error?: { readonly code: string; readonly message: string }
} & {
  readonly [field: string]: unknown
}

export class SocketUser {
  readonly socket: Socket
  readonly events: ReceivedEvent[] = []
  /** Reasons of all disconnects so far. */
  readonly disconnections: string[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.onAny((name: string, payload: unknown) => {
      if (this.events.length >= keptEventsMax)
        throw new Error(`unable to keep the event; ${keptEventsMax} are kept already`)
      this.events.push({ name, payload })
    })
    socket.on('disconnect', (reason) => this.disconnections.push(reason))
  }

  /** Opens a connection without waiting for it, for tests of refusals. */
  static open(url: string, options: SocketUserOptions = {}): SocketUser {
    const headers = { ...(options.cookie !== undefined && { cookie: options.cookie }), ...options.headers }
    return new SocketUser(
      io(url, {
        transports: options.transports ?? ['websocket'],
        extraHeaders: headers,
        forceNew: true,
        reconnection: false,
        ...(options.cursor !== undefined && { auth: { cursor: options.cursor } }),
        ...options.client,
      }),
    )
  }

  /**
   * Opens a connection. Resolves after `ready`; rejects with the server's reason when the server
   * refuses the connection.
   */
  static async connect(url: string, options: SocketUserOptions = {}): Promise<SocketUser> {
    const user = SocketUser.open(url, options)
    let timer: NodeJS.Timeout | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(
          () => reject(new Error(`unable to connect; no ready within ${connectTimeoutMs} ms`)),
          connectTimeoutMs,
        )
        user.socket.once('ready', () => resolve())
        user.socket.once('connect_error', reject)
        user.socket.once('disconnect', (reason) => reject(new Error(`unable to connect; ${reason}`)))
      })
      return user
    } catch (error) {
      user.close()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends a command and resolves to its acknowledgement, even if that is a refusal. */
  async command(name: string, payload: unknown, timeoutMs = acknowledgementTimeoutMs): Promise<Acknowledgement> {
    return (await this.socket.timeout(timeoutMs).emitWithAck(name, payload)) as Acknowledgement
  }

  /** Returns the payloads of all events with this name, in order. */
  named<Payload = unknown>(name: string): Payload[] {
    return this.events.filter((event) => event.name === name).map((event) => event.payload as Payload)
  }

  /** Returns all changes received in this conversation, in order of arrival. */
  changesOf(
    conversation: string,
  ): { readonly seq: number; readonly type: string; readonly [field: string]: unknown }[] {
    return this.named<{ conversation: string; changes: { seq: number; type: string }[] }>('changes')
      .filter((payload) => payload.conversation === conversation)
      .flatMap((payload) => payload.changes)
  }

  /** Waits for an event for which `fits` returns true. Events received earlier count as well. */
  waitFor(fits: (event: ReceivedEvent) => boolean, what = 'an event', timeoutMs = patienceMs): Promise<ReceivedEvent> {
    return waitForFact(() => this.events.find(fits), { what, timeoutMs })
  }

  /**
   * Waits until a change with this or a later seq was received. Changes are delivered in order, so
   * every earlier change has arrived by then.
   */
  async waitForSeq(conversation: string, seq: number, timeoutMs = patienceMs): Promise<void> {
    await waitForFact(() => this.changesOf(conversation).some((change) => change.seq >= seq), {
      what: `seq ${seq} of ${conversation}`,
      timeoutMs,
    })
  }

  close(): void {
    this.socket.disconnect()
  }
}
