/**
 * Leaves service without losing anyone. Readiness has said no by now; then, in this order:
 * 1. notice: everything goes on until a balancer has looked again and sends nobody here any more;
 * 2. moving: nobody new comes in, and everybody is asked to move, each at a time of its own; who knows nothing of moving
 *    is closed at that time, once it has nothing unanswered, so that those arrive elsewhere spread out, too;
 * 3. last answers: commands under way end, later ones are refused as certainly not done, and only then the wires close.
 * Each step has a bound, and without connections and requests the first two take no time.
 */
import type { CommandIntake } from '../commands/command-intake.ts'
import type { Clock } from '../support/clock.ts'
import type { ConnectionGate } from './connection-gate.ts'

export interface DrainOptions {
  readonly gate: ConnectionGate
  readonly intake: CommandIntake
  /** Wires that have not been closed yet. */
  readonly openWires: () => number
  readonly clock: Clock
  readonly noticeMs: number
  readonly moveMs: number
}

export const drainBounds = {
  /** Without connections and without a request for this long there is nobody to wait for. */
  quietMs: 10_000,
  /** How long after its time a connection that has not moved is left alone: its new link may be on the way. */
  strayMs: 1_000,
  /** How long commands under way have to end. */
  answerMs: 2_500,
  /** How long later ones are refused in words before the wire closes. */
  refuseMs: 250,
  /** How long a slow wire has to take what it was told last. */
  lastWordsMs: 1_000,
  lookMs: 50,
} as const

export async function drain(options: DrainOptions): Promise<void> {
  const { gate, intake, openWires, clock, noticeMs, moveMs } = options
  const pass = (ms: number): Promise<void> => new Promise((resolve) => clock.setTimer(resolve, ms))
  const passUnless = async (ms: number, isOver: () => boolean): Promise<void> => {
    for (const endsAtMs = clock.nowMs() + ms; clock.nowMs() < endsAtMs && !isOver(); )
      await pass(Math.min(drainBounds.lookMs, endsAtMs - clock.nowMs()))
  }

  await passUnless(noticeMs, () => gate.size === 0 && intake.quietForMs > drainBounds.quietMs)
  gate.refuseNew()
  const left = gate.askToMove(moveMs, 'stopping')
  await passUnless(moveMs + drainBounds.strayMs, () => {
    const nowMs = clock.nowMs()
    while (left[0] !== undefined && left[0].byMs + drainBounds.strayMs <= nowMs) {
      const { connection } = left.shift() as (typeof left)[number]
      // One that goes on sending would have something open when the wire closes: it waits for the last step.
      if (connection.isQuietSince(nowMs - drainBounds.strayMs)) gate.closeLeft(connection)
    }
    return gate.size === 0
  })

  // Engine.IO drops what is written after a close: whoever waits for an answer gets it before.
  intake.close()
  await intake.whenIdle(drainBounds.answerMs)
  // Whoever sends at each answer is refused once, and so has nothing open when the wire closes.
  await pass(drainBounds.refuseMs)
  gate.closeAll()
  await passUnless(drainBounds.lastWordsMs, () => openWires() === 0)
}
