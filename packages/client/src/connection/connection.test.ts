/** Tests of the connection's state machine, with simulated links and a simulated clock. */
import { ChorusError, type ServerEvent } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { backoffDelayMs, backoffMaxMs } from '../support/backoff.ts'
import { Connection, lastAnswersMs } from './connection.ts'
import { connectionTable } from './connection-table.ts'
import type { DeviceSignal } from './device-signals.ts'
import { openTimeoutMs, replayPauseMaxMs } from './link.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'
import type { Transport, TransportHandlers } from './transport.ts'
import { failuresBeforeFallback, preferredRetryMs } from './transport-choice.ts'

interface Link {
  readonly name: string
  readonly cursor: string | undefined
  readonly handlers: TransportHandlers
  isClosed: boolean
}

function event(name: 'checkpoint' | 'reset', cursor = 'c'): ServerEvent {
  return name === 'reset' ? { name, payload: {} } : { name, payload: { cursor } }
}

const ready = {
  name: 'ready',
  payload: { user: { id: 'u' }, session: { id: 's' }, server: 'x', epoch: 'e', cursor: 'c', resumed: true },
} as ServerEvent

function closing(code: string, retry: string): ServerEvent {
  return { name: 'closing', payload: { code, retry, message: `unable to go on; ${code}` } } as ServerEvent
}

function setUp(prepare: () => Promise<void> | undefined = () => undefined) {
  const clock = new ManualClock()
  const links: Link[] = []
  const events: ServerEvent[] = []
  let signal: (signal: DeviceSignal) => void = () => undefined
  const device = { isOnline: true }
  let cursor = 'c0'
  const toTransport = (name: 'socket-io' | 'sse'): Transport => ({
    name,
    connect: (from, handlers) => {
      const link: Link = { name, cursor: from, handlers, isClosed: false }
      links.push(link)
      return {
        request: (_name, request) =>
          new Promise((resolve) => answers.push(() => resolve(request as unknown as Awaited<never>))),
        close: () => {
          link.isClosed = true
        },
      }
    },
  })
  const answers: (() => void)[] = []
  const connection = new Connection({
    transports: [toTransport('socket-io'), toTransport('sse')],
    clock,
    signals: {
      isOnline: () => device.isOnline,
      watch: (listener) => {
        signal = listener
        return () => undefined
      },
    },
    prepare,
    cursor: () => cursor,
    onEvent: (one) => {
      events.push(one)
      if (one.name === 'checkpoint') cursor = one.payload.cursor
    },
  })
  const last = (): Link => links.at(-1)!
  const open = (link: Link = last()): void => {
    link.handlers.onOpen()
    link.handlers.onEvent(ready)
  }
  const state = () => connection.status.get().state
  /** Advances the clock exactly to the end of the back-off. */
  const passWait = async (): Promise<void> => {
    const status = connection.status.get()
    if (status.state === 'waiting') await clock.advance(status.retryInMs)
  }
  return {
    passWait,
    clock,
    links,
    events,
    answers,
    connection,
    device,
    last,
    open,
    state,
    signal: (one: DeviceSignal) => signal(one),
  }
}

describe('the connection state table', () => {
  it('the state table has a valid next state for every event in every state', () => {
    const states = Object.keys(connectionTable)
    const events = new Set(Object.values(connectionTable).flatMap((row) => Object.keys(row)))
    for (const row of Object.values(connectionTable)) {
      expect(Object.keys(row).sort()).toEqual([...events].sort())
      for (const to of Object.values(row)) expect([...states, 'stay']).toContain(to)
      expect(row.stop === 'idle' || row === connectionTable.idle).toBe(true)
    }
  })
})

describe('the reconnect back-off', () => {
  it('[LIM2] the reconnect delay is random, with a growing maximum and the server’s minimum', () => {
    const top = (attempt: number) => backoffDelayMs(attempt, { random: () => 0.999_999 })
    expect(Math.round(top(0))).toBe(500)
    expect(Math.round(top(99))).toBe(backoffMaxMs)
    for (let attempt = 1; attempt < 20; attempt += 1) expect(top(attempt)).toBeGreaterThanOrEqual(top(attempt - 1))
    expect(backoffDelayMs(5, { random: () => 0 })).toBe(0)
    expect(backoffDelayMs(0, { random: () => 0 }, 7_000)).toBe(7_000)
    expect(backoffDelayMs(0, { random: () => 0.5 }, 7_000)).toBeGreaterThan(7_000)
  })
})

describe('the connection, which uses one network link at a time', () => {
  it('a connection resumes from the newest cursor after a lost link', async () => {
    const { connection, links, last, open, state, clock } = setUp()
    connection.start()
    expect(state()).toBe('connecting')
    last().handlers.onOpen()
    expect(state()).toBe('replaying')
    last().handlers.onEvent(event('checkpoint', 'c1'))
    last().handlers.onEvent(ready)
    expect(state()).toBe('ready')
    last().handlers.onEvent(event('checkpoint', 'c2'))
    last().handlers.onEnd({ kind: 'lost' })
    expect(connection.status.get()).toMatchObject({ state: 'waiting', retryInMs: 250 })
    await clock.advance(250)
    expect(state()).toBe('connecting')
    expect(links.map(({ cursor }) => cursor)).toEqual(['c0', 'c2'])
    open()
    expect(state()).toBe('ready')
  })

  it('[LIM2] a connection waits for the server’s delay before it reconnects', async () => {
    const { connection, last, open, clock } = setUp()
    connection.start()
    last().handlers.onEnd({ kind: 'lost', retryAfterMs: 9_000 })
    const first = connection.status.get()
    expect(first.state === 'waiting' && first.retryInMs >= 9_000).toBe(true)
    await clock.advance(20_000)
    open()
    await clock.advance(10_000)
    last().handlers.onEnd({ kind: 'lost' })
    expect(connection.status.get()).toMatchObject({ state: 'waiting', retryInMs: 250, attempt: 1 })
  })

  it('[LIM2] the reconnect delays grow when the server closes every link immediately', async () => {
    const { connection, last, open, passWait } = setUp()
    connection.start()
    const waits: number[] = []
    for (let round = 0; round < 6; round += 1) {
      open()
      last().handlers.onEnd({ kind: 'lost' })
      const status = connection.status.get()
      if (status.state === 'waiting') waits.push(status.retryInMs)
      await passWait()
    }
    expect(waits).toEqual([...waits].sort((left, right) => left - right))
    expect(waits.at(-1)).toBeGreaterThan(1_000)
  })

  it('a connection drops a link that does not open or stops sending missed changes', async () => {
    const { connection, links, last, state, clock } = setUp()
    connection.start()
    await clock.advance(openTimeoutMs - 1)
    expect(state()).toBe('connecting')
    await clock.advance(1)
    expect(state()).toBe('waiting')
    expect(links[0]?.isClosed).toBe(true)
    await clock.advance(1_000)
    last().handlers.onOpen()
    await clock.advance(replayPauseMaxMs - 1)
    last().handlers.onEvent(event('checkpoint'))
    await clock.advance(replayPauseMaxMs - 1)
    expect(state()).toBe('replaying')
    await clock.advance(1)
    expect(state()).toBe('waiting')
  })

  it('[ACL2] a connection stays closed after a revoked session or a permanent refusal', () => {
    const revoked = setUp()
    revoked.connection.start()
    revoked.open()
    revoked.last().handlers.onEvent(closing('revoked', 'never'))
    revoked.last().handlers.onEnd({ kind: 'lost' })
    expect(revoked.connection.status.get()).toMatchObject({ state: 'closed', reason: 'revoked' })
    expect(revoked.clock.timers).toBe(0)

    const refused = setUp()
    refused.connection.start()
    refused.last().handlers.onEnd({ kind: 'refused', message: 'unable to connect; not from there' })
    expect(refused.connection.status.get()).toMatchObject({ state: 'closed', reason: 'refused' })

    const slow = setUp()
    slow.connection.start()
    slow.open()
    slow.last().handlers.onEvent(closing('slow', 'later'))
    slow.last().handlers.onEnd({ kind: 'lost' })
    expect(slow.state()).toBe('waiting')
  })

  it('after failures, a connection tries other transports, and later the preferred one', async () => {
    const { connection, links, last, open, clock, passWait } = setUp()
    connection.start()
    for (let failures = 0; failures < failuresBeforeFallback + 3; failures += 1) {
      last().handlers.onEnd({ kind: 'lost' })
      await passWait()
    }
    expect(links.map(({ name }) => name)).toEqual([
      'socket-io',
      'socket-io',
      'socket-io',
      'sse',
      'socket-io',
      'sse',
      'socket-io',
    ])
    last().handlers.onEnd({ kind: 'lost' })
    await passWait()
    expect(last().name).toBe('sse')
    open()
    expect(connection.status.get()).toEqual({ state: 'ready', transport: 'sse' })

    // The preferred transport is retried soon. The working fallback link stays open until the
    // preferred link is ready.
    const fallback = last()
    await clock.advance(10_000)
    const trial = last()
    expect(trial.name).toBe('socket-io')
    expect(fallback.isClosed).toBe(false)
    trial.handlers.onEnd({ kind: 'lost' })
    expect(connection.status.get()).toEqual({ state: 'ready', transport: 'sse' })
    for (let waitedMs = 0; last() === trial && waitedMs < preferredRetryMs * 2; waitedMs += 1_000)
      await clock.advance(1_000)
    expect(last()).not.toBe(trial)
    expect(last().name).toBe('socket-io')
    open()
    expect(connection.status.get()).toEqual({ state: 'ready', transport: 'socket-io' })
    expect(fallback.isClosed).toBe(true)
  })

  it('[CLI1] during a move, a connection reads the events of only one link', async () => {
    const { connection, links, events, last, open, state, clock } = setUp()
    connection.start()
    open()
    const [old] = links
    old?.handlers.onEvent({ name: 'moving', payload: { inMs: 4_000 } })
    await clock.advance(2_000)
    expect(state()).toBe('moving')
    expect(links).toHaveLength(2)
    old?.handlers.onEvent(event('checkpoint', 'by the old'))
    last().handlers.onOpen()
    events.splice(0)
    old?.handlers.onEvent(event('checkpoint', 'too late'))
    last().handlers.onEvent(event('checkpoint', 'by the new'))
    expect(events).toEqual([event('checkpoint', 'by the new')])
    expect(old?.isClosed).toBe(false)
    last().handlers.onEvent(ready)
    expect(state()).toBe('ready')
    expect(old?.isClosed).toBe(true)
    old?.handlers.onEnd({ kind: 'lost' })
    expect(state()).toBe('ready')
  })

  it('[ACK2] after a move, the old link stays open until its last response or a timeout', async () => {
    for (const isAnswered of [true, false]) {
      const { connection, links, last, open, answers, clock } = setUp()
      connection.start()
      open()
      const [old] = links
      const answer = connection.request('set-status', { status: 'away' })
      old?.handlers.onEvent({ name: 'moving', payload: { inMs: 4_000 } })
      await clock.advance(2_000)
      open()
      expect(last()).not.toBe(old)
      expect(old?.isClosed).toBe(false)
      if (isAnswered) {
        answers[0]?.()
        expect(await answer).toEqual({ status: 'away' })
      } else await clock.advance(lastAnswersMs)
      expect(old?.isClosed).toBe(true)
      expect(connection.status.get().state).toBe('ready')
    }
  })

  it('a failed move is retried after the server’s delay, while the old link stays open', async () => {
    const { connection, links, last, open, state, clock } = setUp()
    connection.start()
    open()
    const states = new Set<string>()
    connection.status.subscribe(() => states.add(state()))
    links[0]?.handlers.onEvent({ name: 'moving', payload: { inMs: 4_000 } })
    await clock.advance(2_000)
    // Simulates a load balancer that routes the new link to the server that is shutting down.
    for (let refusals = 1; refusals <= 5; refusals += 1) {
      expect(links).toHaveLength(1 + refusals)
      last().handlers.onEnd({ kind: 'lost', retryAfterMs: 1_000 })
      await clock.advance(999)
      expect(links).toHaveLength(1 + refusals)
      await clock.advance(1_001)
    }
    // Each attempt reached the server, so the preferred transport is kept.
    expect(last().name).toBe('socket-io')
    open()
    links[0]?.handlers.onEnd({ kind: 'lost' })
    expect([...states].sort()).toEqual(['moving', 'ready'])
    await clock.advance(60_000)
    expect(links).toHaveLength(7)
  })

  it('a planned move waits for `ready`, and is cancelled when its link ends', async () => {
    const { connection, links, last, open, state, signal, clock } = setUp()
    connection.start()
    last().handlers.onOpen()
    last().handlers.onEvent({ name: 'moving', payload: { inMs: 1_000 } })
    await clock.advance(2_000)
    expect(links).toHaveLength(1)
    last().handlers.onEvent(ready)
    await clock.advance(500)
    expect(state()).toBe('moving')
    open()
    expect(links).toHaveLength(2)

    last().handlers.onEvent({ name: 'moving', payload: { inMs: 20_000 } })
    await clock.advance(8_000)
    signal('wake')
    open()
    await clock.advance(60_000)
    expect(links).toHaveLength(3)
  })

  it('a connection stays connected when either link fails during a move', async () => {
    const { connection, links, last, open, state, clock } = setUp()
    connection.start()
    open()
    links[0]?.handlers.onEvent({ name: 'moving', payload: { inMs: 100 } })
    await clock.advance(100)
    last().handlers.onEnd({ kind: 'lost' })
    expect(state()).toBe('ready')
    links[0]?.handlers.onEvent({ name: 'moving', payload: { inMs: 100 } })
    await clock.advance(100)
    expect(state()).toBe('moving')
    links[0]?.handlers.onEnd({ kind: 'lost' })
    expect(state()).toBe('connecting')
    expect(links).toHaveLength(3)
    open()
    expect(state()).toBe('ready')
  })

  it('a connection opens a new link after the device slept', async () => {
    const { connection, links, last, open, state, signal, clock } = setUp()
    connection.start()
    open()
    await clock.advance(60_000)
    signal('wake')
    signal('wake')
    expect(links).toHaveLength(2)
    expect(state()).toBe('moving')
    last().handlers.onEnd({ kind: 'lost' })
    expect(state()).toBe('waiting')
    expect(links[0]?.isClosed).toBe(true)
    signal('wake')
    expect(state()).toBe('connecting')
  })

  it('the connection of an offline device is `offline`, but sometimes tries to connect', async () => {
    const { connection, links, last, open, state, signal, device, clock } = setUp()
    connection.start()
    open()
    device.isOnline = false
    signal('offline')
    expect(state()).toBe('offline')
    expect(links[0]?.isClosed).toBe(true)
    await clock.advance(backoffMaxMs * 2)
    expect(links).toHaveLength(2)
    last().handlers.onEnd({ kind: 'lost' })
    expect(state()).toBe('offline')
    device.isOnline = true
    signal('online')
    expect(state()).toBe('connecting')
    open()
    expect(state()).toBe('ready')
  })

  it('a failed `prepare` callback is handled like a lost or refused link', async () => {
    const answers: (() => Promise<void> | undefined)[] = [
      () => Promise.reject(new ChorusError('unavailable', 'unable to load; later')),
      () => Promise.resolve(),
      () => Promise.reject(new ChorusError('unauthenticated', 'unable to load; no session')),
    ]
    const { connection, links, open, last, state, clock } = setUp(() => answers.shift()?.())
    connection.start()
    expect(state()).toBe('connecting')
    await settle()
    expect(state()).toBe('waiting')
    expect(links).toHaveLength(0)
    await clock.advance(1_000)
    expect(links).toHaveLength(1)
    open()
    last().handlers.onEnd({ kind: 'lost' })
    await clock.advance(1_000)
    expect(connection.status.get()).toMatchObject({ state: 'closed', reason: 'revoked' })
  })

  it('a connection can stop in every state and leaves no timer', async () => {
    const { connection, open, last, state, clock } = setUp()
    for (const reach of [
      () => undefined,
      () => last().handlers.onOpen(),
      () => open(),
      () => last().handlers.onEnd({ kind: 'lost' }),
      () => last().handlers.onEnd({ kind: 'refused', message: 'no' }),
    ]) {
      connection.start()
      reach()
      connection.stop()
      expect(state()).toBe('idle')
      expect(clock.timers).toBe(0)
    }
    await settle()
  })
})
