/**
 * Tests what happens when a client stops reading: the limit of its connection, the limit of the
 * server, and the time limit.
 */
import { describe, expect, it } from 'vitest'
import { Connection } from './connection.ts'
import { Answer, Frame } from '../frames/frame.ts'
import { Outbound, OutboundBudget, outboundLimits } from './outbound.ts'
import type { EventLoopStallDetector } from '../health/event-loop-stall-detector.ts'
import { RecordingTransport } from './testing/recording-transport.ts'

const answerOfBytes = (bytes: number): Answer => new Answer('x'.repeat(bytes - 32))
const frameOfBytes = (bytes: number): Frame => new Frame('changes', 'x'.repeat(bytes - 32))

function open(budget = new OutboundBudget(), isReading = false) {
  const transport = new RecordingTransport()
  transport.isReading = isReading
  let failed = 0
  const outbound = new Outbound(transport, budget, () => failed++)
  return { transport, outbound, budget, failures: () => failed }
}

describe('the outgoing queue of a connection', () => {
  it('[SLOW1] writes frames at once while the transport has room, and queues later frames', () => {
    const { transport, outbound, budget } = open()
    const frames = Array.from({ length: 20 }, () => frameOfBytes(10_000))
    for (const frame of frames) outbound.send(frame)
    // The transport gets as many frames as it may buffer. The remaining frames are queued.
    expect(transport.frames).toHaveLength(7)
    expect(outbound.isBehind).toBe(true)
    expect(budget.heldBytes).toBe(130_000)
    expect(outbound.unreadBytes).toBe(200_000)
    transport.isReading = true
    transport.read()
    expect(transport.frames).toEqual(frames)
    expect(budget.heldBytes).toBe(0)
    expect(outbound.isBehind).toBe(false)
  })

  it('[SLOW1] counts acknowledgements and events in one limit and keeps their order', () => {
    const { transport, outbound, budget, failures } = open()
    for (let sent = 0; sent < 5; sent++) {
      outbound.send(answerOfBytes(50_000))
      outbound.send(frameOfBytes(50_000))
    }
    // The transport gets as much as it may buffer. The rest is queued and counted.
    expect([transport.answers.length, transport.frames.length]).toEqual([1, 1])
    expect(budget.heldBytes).toBe(400_000)
    expect(outbound.unreadBytes).toBe(500_000)
    transport.isReading = true
    transport.read()
    expect([transport.answers.length, transport.frames.length]).toEqual([5, 5])
    expect(budget.heldBytes).toBe(0)
    transport.isReading = false
    for (let sent = 0; sent < 25; sent++) outbound.send(answerOfBytes(50_000))
    expect(failures()).toBe(1)
    expect(budget.heldBytes).toBe(0)
  })

  it('[ACK2] [SLOW1] sends acknowledgements while events are held back, within the limit', () => {
    let resume: () => void = () => undefined
    let mayDeliver = false
    const watch = { mayDeliver: () => mayDeliver, onResume: (listener: () => void) => (resume = listener) }
    const { transport, outbound, budget, failures } = open(
      new OutboundBudget(watch as unknown as EventLoopStallDetector),
      true,
    )
    outbound.send(frameOfBytes(1_000))
    outbound.send(answerOfBytes(100))
    expect([transport.answers.length, transport.frames.length]).toEqual([1, 0])
    transport.isReading = false
    for (let sent = 0; sent < 3; sent++) outbound.send(answerOfBytes(40_000))
    expect([transport.answers.length, transport.frames.length]).toEqual([3, 0])
    transport.read()
    expect([transport.answers.length, transport.frames.length]).toEqual([4, 0])
    transport.read()
    mayDeliver = true
    resume()
    expect(transport.frames).toHaveLength(1)
    expect(outbound.isBehind).toBe(false)
    expect(budget.heldBytes).toBe(0)
    mayDeliver = false
    for (let sent = 0; sent < 30; sent++) outbound.send(answerOfBytes(50_000))
    expect(failures()).toBe(1)
  })

  it('[SLOW1] closes a connection with over one megabyte unread, and frees its queue', async () => {
    const { outbound, budget, failures, transport } = open()
    const drained: string[] = []
    for (let sent = 0; sent < outboundLimits.connectionMaxBytes - 60_000; sent += 50_000)
      outbound.send(frameOfBytes(50_000))
    const waiting = outbound.whenDrained().then(() => drained.push('told'))
    expect(failures()).toBe(0)
    outbound.send(frameOfBytes(70_000))
    expect(failures()).toBe(1)
    expect(budget.heldBytes).toBe(0)
    await waiting
    const written = transport.frames.length
    outbound.send(frameOfBytes(100))
    transport.read()
    expect(transport.frames).toHaveLength(written)
    expect(failures()).toBe(1)
  })

  it('[SLOW1] closes a connection after ten seconds without any progress', () => {
    const { outbound, budget, failures, transport } = open()
    for (let index = 0; index < 5; index++) outbound.send(frameOfBytes(50_000))
    budget.checkProgress(1_000)
    budget.checkProgress(10_900)
    expect(failures()).toBe(0)
    transport.read(1)
    budget.checkProgress(11_000)
    budget.checkProgress(21_000)
    expect(failures()).toBe(0)
    budget.checkProgress(21_001)
    expect(failures()).toBe(1)
  })

  it('[SLOW1] applies the time limit to bytes that only the transport holds', () => {
    const { outbound, budget, failures } = open()
    outbound.send(frameOfBytes(1_000))
    expect(outbound.isBehind).toBe(false)
    budget.checkProgress(0)
    budget.checkProgress(10_001)
    expect(failures()).toBe(1)
  })

  it('[SLOW1] never closes a connection that has read everything', () => {
    const { outbound, budget, failures, transport } = open()
    outbound.send(frameOfBytes(1_000))
    budget.checkProgress(0)
    transport.read()
    budget.checkProgress(9_000)
    budget.checkProgress(60_000)
    outbound.send(frameOfBytes(1_000))
    budget.checkProgress(61_000)
    budget.checkProgress(70_000)
    expect(failures()).toBe(0)
  })

  it('[SLOW1] counts a shared frame once, and closes the largest queues first', () => {
    const budget = new OutboundBudget()
    const readers = Array.from({ length: 100 }, () => open(budget))
    const shared = frameOfBytes(500_000)
    for (const { outbound } of readers) {
      outbound.send(frameOfBytes(70_000))
      outbound.send(shared)
    }
    expect(budget.heldBytes).toBe(500_000)
    // Frames that are not shared: together more than the server's limit of 48 MB. The first readers
    // have the most unread bytes.
    readers.forEach(({ outbound }, index) => outbound.send(frameOfBytes(478_000 - index * 1_000)))
    readers.forEach(({ outbound }) => outbound.send(frameOfBytes(100_000 - 64_000)))
    expect(budget.heldBytes).toBeLessThanOrEqual(outboundLimits.serverMaxBytes)
    readers.forEach(({ outbound }) => outbound.send(frameOfBytes(64_000)))
    expect(budget.heldBytes).toBeLessThanOrEqual(outboundLimits.serverMaxBytes)
    const failed = readers.map(({ failures }) => failures())
    const closed = failed.filter((count) => count > 0).length
    expect(closed).toBeGreaterThan(0)
    // Only as many connections as needed were closed: the first ones, with the most unread bytes.
    expect(failed).toEqual(failed.map((_, index) => (index < closed ? 1 : 0)))
  })

  it('[SLOW1] closes a connection over its limit with code `slow`, and asks the client to reconnect', () => {
    const transport = new RecordingTransport()
    transport.isReading = false
    let closed = 0
    const connection = new Connection({
      id: 1,
      user: 'ada',
      session: 's',
      transport,
      budget: new OutboundBudget(),
      expiresAtMs: Number.POSITIVE_INFINITY,
      onClosed: () => closed++,
    })
    connection.becomeReady()
    for (let index = 0; index < 25; index++) connection.send(frameOfBytes(50_000))
    expect(connection.state).toEqual({ kind: 'closed', code: 'slow' })
    expect(JSON.parse(transport.frames.at(-1)!.json)).toMatchObject({ code: 'slow', retry: 'later' })
    expect(transport.closed).toBe('again')
    expect(closed).toBe(1)
    connection.close('slow', 'again', 'later')
    connection.lost()
    expect(closed).toBe(1)
  })
})
