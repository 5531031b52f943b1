/**
 * Tests that after a stall of the process, no event is sent before a sweep that began after the
 * stall.
 */
import { describe, expect, it } from 'vitest'
import type { Clock } from '../support/clock.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { Frame } from '../frames/frame.ts'
import { Outbound, OutboundBudget, outboundLimits } from '../delivery/outbound.ts'
import { EventLoopStallDetector, stallTimings } from './event-loop-stall-detector.ts'
import { RecordingTransport } from '../delivery/testing/recording-transport.ts'

/** Clock that can advance without running its timers, as in a process that was paused. */
class FreezingClock implements Clock {
  readonly manual = new ManualClock()
  #frozenMs = 0

  nowMs(): number {
    return this.manual.nowMs() + this.#frozenMs
  }

  setTimer(callback: () => void, delayMs: number) {
    return this.manual.setTimer(callback, delayMs)
  }

  freeze(forMs: number): void {
    this.#frozenMs += forMs
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function open() {
  const clock = new FreezingClock()
  const stalls: number[] = []
  const watch = new EventLoopStallDetector(clock)
  const budget = new OutboundBudget(watch)
  const transport = new RecordingTransport()
  let failures = 0
  const outbound = new Outbound(transport, budget, () => failures++)
  watch.start((forMs) => void stalls.push(forMs))
  return { clock, stalls, watch, budget, transport, outbound, failures: () => failures }
}

const frame = new Frame('changes', '{}')

describe('events after a stall of the process', () => {
  it('[ACL2] sends no events right after a stall of the process, even before timers run', () => {
    const { clock, stalls, transport, outbound } = open()
    clock.freeze(60_000)
    // Data that waited in the sockets is handled before timers run.
    outbound.send(frame)
    expect(transport.frames).toEqual([])
    expect(stalls).toEqual([60_000 - stallTimings.beatMs])
    expect(outbound.isBehind).toBe(true)
  })

  it('[ACL2] holds events after a stall until a sweep that began later, then sends them', async () => {
    const { clock, watch, transport, outbound } = open()
    const others = [new Frame('changes', '{"a":1}'), new Frame('live', '[]'), new Frame('changes', '{"a":2}')]
    const beforeMs = clock.nowMs()
    clock.freeze(5_000)
    for (const other of others) outbound.send(other)
    await nextTurn()
    // This sweep began before the stall, so it does not count.
    watch.swept(beforeMs)
    transport.read()
    outbound.resume()
    expect(transport.frames).toEqual([])
    watch.swept(clock.nowMs())
    expect(transport.frames).toEqual(others)
    await nextTurn()
    outbound.send(frame)
    expect(transport.frames.at(-1)).toBe(frame)
    expect(outbound.isBehind).toBe(false)
  })

  it('a timer detects a stall even when no event is sent', () => {
    const { clock, stalls, watch } = open()
    clock.freeze(stallTimings.latenessMaxMs + 1)
    clock.manual.advance(stallTimings.beatMs)
    expect(stalls).toEqual([stallTimings.latenessMaxMs + 1])
    expect(watch.mayDeliver()).toBe(false)
  })

  it('after a second stall, events wait for a sweep that began after it', async () => {
    const { clock, watch, stalls } = open()
    clock.freeze(2_000)
    expect(watch.mayDeliver()).toBe(false)
    const betweenMs = clock.nowMs()
    await nextTurn()
    clock.freeze(2_000)
    expect(watch.mayDeliver()).toBe(false)
    watch.swept(betweenMs)
    expect(watch.mayDeliver()).toBe(false)
    watch.swept(clock.nowMs())
    expect(watch.mayDeliver()).toBe(true)
    expect(stalls).toHaveLength(2)
  })

  it('the stall detector ignores short pauses and slightly late timers', async () => {
    const { clock, stalls, watch, transport, outbound } = open()
    for (let index = 0; index < 20; index++) {
      clock.freeze(stallTimings.latenessMaxMs - 10)
      outbound.send(frame)
      clock.manual.advance(stallTimings.beatMs)
      await nextTurn()
    }
    expect(stalls).toEqual([])
    expect(watch.mayDeliver()).toBe(true)
    expect(transport.frames).toHaveLength(20)
  })

  it('[SLOW1] limits the bytes of events held after a stall, not how long they wait', async () => {
    const { clock, budget, watch, outbound, failures } = open()
    clock.freeze(2_000)
    outbound.send(frame)
    for (const nowMs of [0, 20_000, 40_000]) {
      budget.checkProgress(nowMs)
      await nextTurn()
    }
    expect(failures()).toBe(0)
    for (let sent = 0; sent <= outboundLimits.connectionMaxBytes; sent += 100_000)
      outbound.send(new Frame('changes', 'x'.repeat(100_000)))
    expect(failures()).toBe(1)
    watch.swept(clock.nowMs())
    expect(budget.heldBytes).toBe(0)
  })
})
