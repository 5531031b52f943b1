/**
 * Takes this server out of service without losing a request. When this begins, the readiness check
 * (`/readyz`) already fails. The steps, in this order:
 * 1. Notice: everything runs on until a load balancer has seen the failed check and sends no new
 * clients.
 * 2. Moving: new connections are refused, and each connection is asked to move to another server by
 * a deadline of its own. A client that cannot move is closed at its deadline, once all its commands
 * are answered. So these clients also reconnect elsewhere spread over time.
 * 3. Last answers: commands in flight end. Later commands are refused with an error that says that
 * nothing was done. Only then are the connections closed.
 * Each step has a time limit. Without connections and requests the first two steps take no time.
 */
import type { InFlightCommands } from '../dispatch/in-flight-commands.ts'
import type { Clock } from '../support/clock.ts'
import type { ConnectionGate } from './connection-gate.ts'

export interface DrainOptions {
  readonly gate: ConnectionGate
  readonly intake: InFlightCommands
  /** Returns the number of network connections that are still open. */
  readonly openWires: () => number
  readonly clock: Clock
  readonly noticeMs: number
  readonly moveMs: number
}

export const drainTimings = {
  /** Time without connections and requests after which the notice step ends early. */
  quietMs: 10_000,
  /**
   * Time for which a connection is kept after its deadline to move: its client may be just opening
   * the connection to another server.
   */
  strayMs: 1_000,
  /** Maximum time for commands in flight to end. */
  answerMs: 2_500,
  /** Time in which later commands are refused with an error, before the connections close. */
  refuseMs: 250,
  /** Maximum time for a slow client to receive its last data. */
  lastWordsMs: 1_000,
  lookMs: 50,
} as const

export async function drain(options: DrainOptions): Promise<void> {
  const { gate, intake, openWires, clock, noticeMs, moveMs } = options
  const pass = (ms: number): Promise<void> => new Promise((resolve) => clock.setTimer(resolve, ms))
  const passUnless = async (ms: number, isOver: () => boolean): Promise<void> => {
    for (const endsAtMs = clock.nowMs() + ms; clock.nowMs() < endsAtMs && !isOver(); )
      await pass(Math.min(drainTimings.lookMs, endsAtMs - clock.nowMs()))
  }

  await passUnless(noticeMs, () => gate.size === 0 && intake.quietForMs > drainTimings.quietMs)
  gate.refuseNew()
  const left = gate.askToMove(moveMs, 'stopping')
  await passUnless(moveMs + drainTimings.strayMs, () => {
    const nowMs = clock.nowMs()
    while (left[0] !== undefined && left[0].byMs + drainTimings.strayMs <= nowMs) {
      const { connection } = left.shift() as (typeof left)[number]
      // If this step closed a connection whose client keeps sending commands, one command would get
      // no response. So such a connection is closed in the last step.
      if (connection.isQuietSince(nowMs - drainTimings.strayMs)) gate.closeLeft(connection)
    }
    return gate.size === 0
  })

  // Engine.IO drops data that is written after a connection was closed. So write every response
  // before closing the connections.
  intake.close()
  await intake.whenIdle(drainTimings.answerMs)
  // Wait, so that a client that sends one command after another gets a refusal before its
  // connection closes. So none of its commands stays without a response.
  await pass(drainTimings.refuseMs)
  gate.closeAll()
  await passUnless(drainTimings.lastWordsMs, () => openWires() === 0)
}
