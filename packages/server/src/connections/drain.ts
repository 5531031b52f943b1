/**
 * Takes this server out of service without losing a request. The readiness check already fails by
 * now. Then, in this order:
 * 1. notice: everything runs on until a balancer has seen the failed check and sends no new
 * clients;
 * 2. moving: new connections are refused, and each connection is asked to move at a time of its
 * own. A client that does not know how to move is closed at that time, once it has no open command,
 * so that those clients also reconnect elsewhere spread over time;
 * 3. last answers: commands in flight end, later commands are refused as certainly not done, and
 * only then the wires close.
 * Each step has a bound. Without connections and requests the first two take no time.
 */
import type { InFlightCommands } from '../dispatch/in-flight-commands.ts'
import type { Clock } from '../support/clock.ts'
import type { ConnectionGate } from './connection-gate.ts'

export interface DrainOptions {
  readonly gate: ConnectionGate
  readonly intake: InFlightCommands
  /** Returns the number of wires that are still open. */
  readonly openWires: () => number
  readonly clock: Clock
  readonly noticeMs: number
  readonly moveMs: number
}

export const drainTimings = {
  /** Time without connections and requests after which the notice step ends early. */
  quietMs: 10_000,
  /**
   * Time after its deadline in which an unmoved connection is kept, because its new connection may
   * be on the way.
   */
  strayMs: 1_000,
  /** Maximum time for commands in flight to end. */
  answerMs: 2_500,
  /** Time in which later commands are refused with an error, before the wires close. */
  refuseMs: 250,
  /** Maximum time for a slow wire to receive its last data. */
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
      // A connection that keeps sending would have an open command when its wire closes, so it
      // waits for the last step.
      if (connection.isQuietSince(nowMs - drainTimings.strayMs)) gate.closeLeft(connection)
    }
    return gate.size === 0
  })

  // Engine.IO drops what is written after a close, so every response must be written before.
  intake.close()
  await intake.whenIdle(drainTimings.answerMs)
  // A client that sends a command after each response is refused once here, so nothing is open when
  // its wire closes.
  await pass(drainTimings.refuseMs)
  gate.closeAll()
  await passUnless(drainTimings.lastWordsMs, () => openWires() === 0)
}
