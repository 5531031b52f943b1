/**
 * Tests the sweep, which finds changes whose hints over Redis were lost: it delivers them, sends no
 * checkpoint before the events it covers, and never goes back to an earlier position.
 */
import type { Id } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { type Place, type SweptFacts, Sweeper, sweeperTimings } from './sweeper.ts'
import { conversation, DeliveryFixture, messageChange } from './testing/delivery-fixture.ts'

type Facts = Partial<Omit<SweptFacts<Place>, 'place'>> & Place

function open(fixture = new DeliveryFixture()) {
  const asked: number[] = []
  const answers: (Facts | Error | Promise<Facts>)[] = []
  const members: [Id, Id][] = []
  const markers: [Id, Id][] = []
  const stale: [Id, number][] = []
  const revoked: Id[] = []
  const owed: Id[] = []
  const applied: number[] = []
  const failures: unknown[] = []
  let repaired = 0
  const sweeper = new Sweeper<Place>(
    {
      sweep: async ({ position }) => {
        asked.push(position)
        const answer = await answers.shift()
        if (answer instanceof Error) throw answer
        const { position: reached, ...facts } = answer ?? { position }
        return {
          cut: false,
          covers: true,
          conversations: new Map(),
          members: [],
          revokedSessions: [],
          ...facts,
          place: { position: reached },
        }
      },
      feeds: fixture.feeds,
      connections: fixture.connections,
      clock: fixture.clock,
      encodeCursor: (position) => `cursor ${position}`,
      onMember: (user, where) => void members.push([user, where]),
      onLeft: () => undefined,
      onStale: (user, _where, leftSeq) => void stale.push([user, leftSeq]),
      onMarker: (user, where) => void markers.push([user, where]),
      onOwed: (connection) => void owed.push(connection.user),
      onRevoked: (sessions) => void revoked.push(...sessions),
      onApplied: (beganAtMs) => void applied.push(beganAtMs),
      observer: {
        swept: (_durationMs, count) => {
          repaired += count
        },
        failed: (error) => void failures.push(error),
      },
    },
    { position: 10 },
  )
  /** Runs one sweep, and advances the clock while the sweep waits for missing changes. */
  const sweep = async (...next: (Facts | Error)[]): Promise<void> => {
    answers.push(...next)
    let done = false
    const running = sweeper.sweepNow().then(() => {
      done = true
    })
    for (let index = 0; index < 100 && !done; index++) {
      await fixture.turn()
      if (!done) fixture.clock.advance(75)
    }
    await running
  }
  return {
    fixture,
    sweeper,
    sweep,
    asked,
    answers,
    members,
    markers,
    owed,
    stale,
    revoked,
    applied,
    failures,
    repaired: () => repaired,
  }
}

const changed = (seq: number): ReadonlyMap<Id, number> => new Map([[conversation, seq]])

describe('the sweeper', () => {
  it("[TAIL1] delivers a change without a hint to every connection, the sender's too", async () => {
    const { fixture, sweep, repaired } = open()
    const ada = await fixture.subscribe('ada', 0)
    const bob = await fixture.subscribe('bob', 0)
    fixture.appendMessages(3)
    // No hint over Redis was sent for this change.
    await sweep({ position: 20, conversations: changed(3) })
    expect(ada.transport.seqsOf(conversation)).toEqual([1, 2, 3])
    expect(bob.transport.seqsOf(conversation)).toEqual([1, 2, 3])
    expect(repaired()).toBe(1)
    // A change that was delivered by its hint does not count as a repair.
    fixture.appendMessages(1)
    fixture.hint(4)
    await fixture.turn()
    await sweep({ position: 21, conversations: changed(4) })
    expect(repaired()).toBe(1)
  })

  it('[TAIL1] sweeps every second, and sooner after a failure', async () => {
    const { fixture, sweeper, asked, answers, failures } = open()
    answers.push({ position: 11 }, new Error('away'), { position: 12 })
    sweeper.start()
    expect(asked).toEqual([])
    fixture.clock.advance(sweeperTimings.intervalMs)
    await fixture.turn()
    expect(asked).toEqual([10])
    expect(sweeperTimings.intervalMs).toBeLessThanOrEqual(1_000)
    fixture.clock.advance(sweeperTimings.intervalMs)
    await fixture.turn()
    expect(failures).toHaveLength(1)
    expect(sweeper.ageMs).toBe(sweeperTimings.intervalMs)
    fixture.clock.advance(sweeperTimings.retryMs)
    await fixture.turn()
    // The failed sweep is repeated from the same position.
    expect(asked).toEqual([10, 11, 11])
    expect(sweeper.ageMs).toBe(0)
    await sweeper.stop()
    fixture.clock.advance(10_000)
    await fixture.turn()
    expect(asked).toHaveLength(3)
  })

  it('[TAIL1] starts sweeps on time while a feed cannot read its missing changes', async () => {
    const { fixture, sweeper, asked, answers } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(1)
    fixture.readErrors.push(...Array.from({ length: 100 }, () => new Error('away')))
    const beganAtMs: number[] = []
    answers.push(...[20, 21, 22].map((position) => ({ position, conversations: changed(1) })))
    sweeper.start()
    for (let elapsedMs = 0; elapsedMs < 3 * sweeperTimings.intervalMs; elapsedMs += 50) {
      fixture.clock.advance(50)
      await fixture.turn()
      if (asked.length > beganAtMs.length) beganAtMs.push(elapsedMs + 50)
    }
    // Each sweep waits for the missing changes, and the next sweep still begins on time.
    expect(beganAtMs).toEqual([1, 2, 3].map((nth) => nth * sweeperTimings.intervalMs))
    expect(ada.transport.frames).toEqual([])
    await Promise.all([sweeper.stop(), fixture.turn().then(() => fixture.clock.advance(sweeperTimings.catchUpMaxMs))])
  })

  it('[TAIL1] [CP1] starts the next sweep at once after a slow one, and sends checkpoints', async () => {
    const { fixture, sweeper, asked, answers } = open()
    const ada = await fixture.subscribe('ada', 0)
    const release: ((facts: Facts) => void)[] = []
    for (let index = 0; index < 2; index++) answers.push(new Promise<Facts>((resolve) => release.push(resolve)))
    sweeper.start()
    for (const seq of [1, 2]) {
      fixture.appendMessages(1)
      fixture.hint(seq)
      fixture.clock.advance(seq === 1 ? sweeperTimings.intervalMs : 0)
      await fixture.turn()
      expect(asked).toHaveLength(seq)
      fixture.clock.advance(sweeperTimings.intervalMs + 500)
      release[seq - 1]?.({ position: 20 + seq, conversations: changed(seq) })
      await fixture.turn()
    }
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 21' }, { cursor: 'cursor 22' }])
    await sweeper.stop()
  })

  it('[TAIL1] finds joins, read markers and revocations whose hints were lost', async () => {
    const { fixture, sweep, members, markers, revoked } = open()
    fixture.connect('ada')
    const facts = {
      position: 20,
      members: [
        { user: 'ada', conversation, leftSeq: null, readSeq: 7, xid: 1 },
        { user: 'ada', conversation: 'left', leftSeq: 9, readSeq: 3, xid: 1 },
        { user: 'nobody here', conversation, leftSeq: null, readSeq: 2, xid: 1 },
      ],
      revokedSessions: ['session'],
    }
    await sweep(facts)
    expect(members).toEqual([['ada', conversation]])
    expect(markers).toEqual([['ada', conversation]])
    expect(revoked).toEqual(['session'])
    // A read marker is reported once, and not at all when it was already sent.
    await sweep({ ...facts, position: 21 })
    expect(markers).toHaveLength(1)
    fixture.feeds.announceReadMarker({ user: 'ada', conversation, readSeq: 8, json: '{}' }, undefined)
    await sweep({ position: 22, members: [{ user: 'ada', conversation, leftSeq: null, readSeq: 8, xid: 1 }] })
    expect(markers).toHaveLength(1)
  })

  it('[CP1] sends a checkpoint after the events it covers, only to their receivers', async () => {
    const { fixture, sweep } = open()
    const ada = await fixture.subscribe('ada', 0)
    const quiet = fixture.connect('quiet')
    fixture.appendMessages(2)
    await sweep({ position: 20, conversations: changed(2) })
    expect(ada.transport.events.map(({ event }) => event)).toEqual(['changes', 'checkpoint'])
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 20' }])
    expect(quiet.transport.frames).toEqual([])
    await sweep({ position: 21 })
    expect(ada.transport.eventsNamed('checkpoint')).toHaveLength(1)
  })

  it('[CP1] sends no checkpoint during a join or before an undelivered change', async () => {
    const { fixture, sweep } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(3)
    fixture.hint(1)
    await fixture.turn()
    // The missing changes cannot be read, so the sweep stops waiting for them.
    fixture.readErrors.push(...Array.from({ length: 4 }, () => new Error('away')))
    await sweep({ position: 20, conversations: changed(3) })
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([])
    ada.connection.joinsInProgress = 1
    await fixture.settle()
    expect(ada.transport.seqsOf(conversation)).toEqual([1, 2, 3])
    await sweep({ position: 21 })
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([])
    ada.connection.joinsInProgress = 0
    await sweep({ position: 22 })
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 22' }])
  })

  it('[CP1] sends no checkpoint while a read marker is pending, and retries its read', async () => {
    const { fixture, sweep, owed } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(1)
    fixture.hint(1)
    await fixture.turn()
    ada.connection.owedMarkers.set(conversation, 'failed')
    await sweep(new Error('away'))
    expect(owed).toEqual([])
    await sweep({ position: 20, conversations: changed(1) })
    expect(owed).toEqual(['ada'])
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([])
    ada.connection.owedMarkers.clear()
    await sweep({ position: 21 })
    expect(owed).toEqual(['ada'])
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 21' }])
  })

  it('[CP1] sends checkpoints in a conversation with constant traffic', async () => {
    const { fixture, sweep } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(2)
    fixture.hint(1, 2)
    await fixture.settle()
    // These changes are newer than what the sweep saw, and not delivered yet when the checkpoint is
    // sent.
    fixture.append(messageChange(3), messageChange(4))
    fixture.hint(4)
    await fixture.turn()
    expect(ada.feed.isSettled).toBe(false)
    await sweep({ position: 20, conversations: changed(2) })
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 20' }])
  })

  it("[CP1] events after a sweep's start or position get a later checkpoint", async () => {
    const { fixture, answers, sweeper } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(2)
    fixture.hint(1)
    await fixture.settle()
    let answer: (facts: Facts) => void = () => undefined
    answers.push(
      new Promise<Facts>((resolve) => {
        answer = resolve
      }),
    )
    const running = sweeper.sweepNow()
    await fixture.turn()
    fixture.hint(2)
    await fixture.settle()
    answer({ position: 20, conversations: changed(1) })
    await running
    const later = async (facts: Facts): Promise<void> => {
      answers.push(facts)
      fixture.clock.advance(sweeperTimings.intervalMs)
      await fixture.turn()
    }
    // A long transaction holds the position back. The same cursor is not sent again, and the
    // connection still needs a checkpoint.
    await later({ position: 20, conversations: changed(2), covers: false })
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 20' }])
    await later({ position: 30 })
    await later({ position: 31 })
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 20' }, { cursor: 'cursor 30' }])
  })

  it('[TAIL1] a sweep that reached its limit does not wait for deliveries', async () => {
    const { fixture, sweep, asked } = open()
    await fixture.subscribe('ada', 0)
    fixture.appendMessages(3)
    fixture.readErrors.push(...Array.from({ length: 40 }, () => new Error('away')))
    const startedAtMs = fixture.clock.nowMs()
    await sweep(
      { position: 20, cut: true, conversations: changed(3) },
      { position: 21, cut: true },
      { position: 22, cut: true },
    )
    expect(asked.slice(0, 3)).toEqual([10, 20, 21])
    expect(fixture.clock.nowMs() - startedAtMs).toBeLessThan(2 * sweeperTimings.catchUpMaxMs)
  })

  it('[ACL1] the sweep reports removed users whose connections are still subscribed', async () => {
    const { fixture, sweep, stale } = open()
    await fixture.subscribe('ada', 5)
    await sweep({ position: 20, members: [{ user: 'ada', conversation, leftSeq: 9, readSeq: null, xid: 1 }] })
    expect(stale).toEqual([])
    await sweep({ position: 21, members: [{ user: 'ada', conversation, leftSeq: 4, readSeq: null, xid: 1 }] })
    expect(stale).toEqual([['ada', 4]])
  })

  it('[CP1] a slow client receives the checkpoint after all changes sent before it', async () => {
    const { fixture, sweep } = open()
    const ada = await fixture.subscribe('ada', 0)
    ada.transport.isReading = false
    for (let seq = 1; seq <= 5; seq++) fixture.append(messageChange(seq, 'x'.repeat(90_000)))
    fixture.feeds.announce(fixture.log)
    await sweep({ position: 20, conversations: changed(5) })
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([])
    ada.transport.isReading = true
    ada.transport.read()
    expect(ada.transport.events.map(({ event }) => event).at(-1)).toBe('checkpoint')
    expect(ada.transport.seqsOf(conversation)).toEqual([1, 2, 3, 4, 5])
  })

  it('[TAIL1, CP1] a sweep at its limit is continued at once; the last sweep sends checkpoints', async () => {
    const { fixture, sweep, asked } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(2)
    await sweep(
      { position: 15, cut: true, conversations: changed(1) },
      { position: 18, cut: true, conversations: changed(2) },
      { position: 30 },
    )
    expect(asked).toEqual([10, 15, 18])
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 30' }])
    expect(ada.transport.seqsOf(conversation)).toEqual([1, 2])
  })

  it('[ACL2] reports the start time of complete sweeps only, after their revoked sessions', async () => {
    const { fixture, sweep, applied, revoked } = open()
    fixture.clock.advance(5)
    await sweep({ position: 20, cut: true, revokedSessions: ['one'] }, { position: 30, revokedSessions: ['two'] })
    expect(revoked).toEqual(['one', 'two'])
    expect(applied).toEqual([5])
    await sweep(new Error('away'), { position: 30 })
    expect(applied).toHaveLength(1)
  })

  it('[TAIL1] starts another sweep for a request made during a sweep', async () => {
    const { fixture, sweeper, asked, answers } = open()
    let release: (facts: Facts) => void = () => undefined
    answers.push(
      new Promise((resolve) => {
        release = resolve
      }),
      { position: 12 },
    )
    const first = sweeper.sweepNow()
    await fixture.turn()
    let isDone = false
    const second = sweeper.sweepNow().then(() => {
      isDone = true
    })
    release({ position: 11 })
    await Promise.all([first, second])
    expect(isDone).toBe(true)
    expect(asked).toEqual([10, 11])
  })

  it('[RES2] ignores the result of a sweep that began in an earlier database epoch', async () => {
    const { fixture, sweeper, asked, answers } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(1)
    fixture.hint(1)
    await fixture.turn()
    let release: (facts: Facts) => void = () => undefined
    answers.push(
      new Promise((resolve) => {
        release = resolve
      }),
      { position: 6 },
    )
    const running = sweeper.sweepNow()
    await fixture.turn()
    sweeper.reset({ position: 5 })
    release({ position: 1_000 })
    await running
    expect(asked).toEqual([10, 5])
    expect(ada.transport.eventsNamed('checkpoint')).toEqual([{ cursor: 'cursor 6' }])
  })

  it('[RES2] [CP1] sends no old position and runs no sweep while the epoch changes', async () => {
    const { fixture, sweeper, sweep, asked, answers } = open()
    const ada = await fixture.subscribe('ada', 0)
    fixture.appendMessages(1)
    fixture.hint(1)
    await fixture.turn()
    let answer: (facts: Facts) => void = () => undefined
    answers.push(
      new Promise((resolve) => {
        answer = resolve
      }),
    )
    const running = sweeper.sweepNow()
    await fixture.turn()
    expect(asked).toEqual([10])
    sweeper.pause()
    answer({ position: 20, conversations: changed(1) })
    await running
    await sweeper.sweepNow()
    expect(asked).toEqual([10])
    const checkpoints = (): number => ada.transport.frames.filter(({ event }) => event === 'checkpoint').length
    expect(checkpoints()).toBe(0)
    sweeper.reset({ position: 3 })
    await sweep({ position: 5 })
    expect(asked).toEqual([10, 3])
    expect(checkpoints()).toBe(1)
  })
})
