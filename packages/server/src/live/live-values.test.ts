/**
 * Tests of live values: only the newest value of a conversation, key and user is sent. Values
 * expire, and their number is limited.
 */
import type { Id, Json, LiveValue } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { holdingLimits } from './live-holdings.ts'
import { localOnlyLiveValues } from './live-store.ts'
import { LiveValues, liveLimits } from './live-values.ts'

function open() {
  const clock = new ManualClock()
  const told: { conversation: Id; values: readonly LiveValue[] }[] = []
  const published: Published[][] = []
  const live = new LiveValues({
    clock,
    now: () => new Date(1_000_000 + clock.nowMs()),
    origin: 'here',
    store: localOnlyLiveValues,
    publish: (_conversation, json) => published.push(JSON.parse(json) as Published[]),
    tell: (conversation, values) => told.push({ conversation, values }),
  })
  return { clock, told, live, published }
}

/** Live value in the form in which servers send it to each other. */
interface Published {
  readonly value: Omit<LiveValue, 'conversation'>
  readonly order: number
  readonly origin: string
  readonly lifeMs: number
}

const conversation = '01900000-0000-7000-8000-00000000c0de'
const ada = '01900000-0000-7000-8000-00000000ada0'

/** Returns a value that another server accepted. */
function fromThere(value: Json, order: number, lifeMs = 5_000): Published {
  // The clock of the other server is years off. Only the remaining lifetime decides when the value
  // expires.
  const at = '2001-01-01T00:00:00.000Z'
  return { value: { key: 'location', user: ada, value, at, expiresAt: at }, order, origin: 'there', lifeMs }
}

/**
 * Opens live values whose timers never fire, so that tests with many values do not run so many
 * timers of a manual clock, which would take minutes.
 */
function openQuiet() {
  let nowMs = 0
  const live = new LiveValues({
    clock: { nowMs: () => nowMs, setTimer: () => ({ cancel: () => undefined }) },
    now: () => new Date(nowMs),
    origin: 'here',
    store: localOnlyLiveValues,
    publish: () => undefined,
    tell: () => undefined,
  })
  return { live, pass: (ms: number): void => void (nowMs += ms) }
}

describe('LiveValues (newest value per key and user)', () => {
  it('[LIVE1] sends the first live value at once, then the newest ten times a second', () => {
    const { clock, told, live } = open()
    live.set('c', 'location', 'ada', 0, 10_000)
    clock.advance(0)
    expect(told).toHaveLength(1)
    for (let value = 1; value <= 1_000; value++) {
      live.set('c', 'location', 'ada', value, 10_000)
      if (value % 10 === 0) clock.advance(1)
    }
    clock.advance(liveLimits.gatherMs)
    // A hundred milliseconds of changes cause one more event, with the newest value.
    expect(told).toHaveLength(2)
    expect(told.at(-1)?.values.map(({ value }) => value)).toEqual([1_000])
    for (const { values } of told) expect(values).toHaveLength(1)
  })

  it('[LIVE1] keeps one live value per key and user, and limits events per conversation', () => {
    const { clock, told, live } = open()
    live.set('c', 'typing', 'ada', true, 5_000)
    live.set('c', 'typing', 'bob', true, 5_000)
    live.set('c', 'location', 'ada', [1, 2], 5_000)
    live.set('d', 'typing', 'ada', true, 5_000)
    clock.advance(0)
    expect(told.map(({ conversation, values }) => [conversation, values.length])).toEqual([
      ['c', 3],
      ['d', 1],
    ])
    expect(live.list('c')).toHaveLength(3)
    live.set('c', 'typing', 'ada', false, 5_000)
    expect(live.list('c').find(({ key, user }) => key === 'typing' && user === 'ada')?.value).toBe(false)
    expect(live.list('c')).toHaveLength(3)
  })

  it('[LIVE1] a live value expires after its lifetime, and null ends it at once', () => {
    const { clock, told, live } = open()
    live.set('c', 'typing', 'ada', true, 5_000)
    live.set('c', 'typing', 'bob', true, 500_000)
    clock.advance(4_999)
    expect(live.list('c')).toHaveLength(2)
    clock.advance(1)
    expect(live.list('c').map(({ user }) => user)).toEqual(['bob'])
    // A value lives at most a minute, even if a longer lifetime was requested.
    clock.advance(55_000)
    expect(live.list('c')).toEqual([])
    live.tidy()
    expect(live.size).toBe(0)
    live.set('c', 'typing', 'ada', true, 5_000)
    live.set('c', 'typing', 'ada', null, 5_000)
    expect(live.list('c')).toEqual([])
    clock.advance(liveLimits.gatherMs)
    expect(told.at(-1)?.values).toMatchObject([{ user: 'ada', value: null }])
    // An ended value is remembered for some seconds, in case an older value arrives late.
    clock.advance(liveLimits.overMs)
    live.tidy()
    expect(live.size).toBe(0)
  })

  it('[ACL1, LIVE1] ends the live values of a user who left, and notifies subscribers', () => {
    const { clock, told, live } = open()
    live.set('c', 'typing', 'ada', true, 5_000)
    live.set('c', 'location', 'ada', 1, 5_000)
    live.set('c', 'typing', 'bob', true, 5_000)
    clock.advance(0)
    live.forget('c', 'ada')
    live.forget('unknown', 'ada')
    expect(live.list('c').map(({ user }) => user)).toEqual(['bob'])
    clock.advance(liveLimits.gatherMs)
    expect(told.at(-1)?.values.map(({ key, user, value }) => [key, user, value])).toEqual([
      ['typing', 'ada', null],
      ['location', 'ada', null],
    ])
  })

  it('[LIVE1] publishes only the newest live values, at most ten times a second', () => {
    const { clock, told, live, published } = open()
    live.set(conversation, 'location', ada, 0, 5_000)
    clock.advance(0)
    for (let value = 1; value <= 100; value++) live.set(conversation, 'location', ada, value, 5_000)
    live.receive(
      conversation,
      JSON.stringify([{ ...fromThere(1, 1), value: { ...fromThere(1, 1).value, key: 'typing' } }]),
    )
    clock.advance(liveLimits.gatherMs)
    expect(published.map((values) => values.map(({ value }) => [value.key, value.value]))).toEqual([
      [['location', 0]],
      [['location', 100]],
    ])
    expect(
      told
        .at(-1)
        ?.values.map(({ key }) => key)
        .sort(),
    ).toEqual(['location', 'typing'])
    // The published value carries its remaining lifetime, counted from the time of publishing.
    expect(published[1]?.[0]?.lifeMs).toBe(5_000 - liveLimits.gatherMs)
  })

  it('[LIVE1] drops an older live value that arrives late, even after the newer one ended', () => {
    const { clock, told, live } = open()
    live.receive(conversation, JSON.stringify([fromThere('later', 2)]))
    live.receive(conversation, JSON.stringify([fromThere('earlier', 1)]))
    clock.advance(0)
    expect(told.flatMap(({ values }) => values.map(({ value }) => value))).toEqual(['later'])
    clock.advance(4_999)
    expect(live.list(conversation)).toHaveLength(1)
    clock.advance(1)
    expect(live.list(conversation)).toEqual([])
    live.receive(conversation, JSON.stringify([fromThere(null, 4, 0)]))
    clock.advance(liveLimits.gatherMs)
    live.receive(conversation, JSON.stringify([fromThere('late', 3)]))
    expect(live.list(conversation)).toEqual([])
    // A value set at this server is newer than the value it replaces, even if the clock of the
    // other server is ahead.
    const ahead = (1_000_000 + clock.nowMs() + liveLimits.aheadMaxMs) * 1_000
    live.receive(conversation, JSON.stringify([fromThere('ahead', ahead)]))
    live.receive(conversation, JSON.stringify([fromThere('too far', ahead + 1)]))
    expect(live.list(conversation).map(({ value }) => value)).toEqual(['ahead'])
    live.set(conversation, 'location', ada, 'here', 5_000)
    expect(live.list(conversation).map(({ value }) => value)).toEqual(['here'])
    // An expired value does not block later values.
    clock.advance(5_000)
    live.receive(conversation, JSON.stringify([fromThere('earlier again', 5)]))
    expect(live.list(conversation).map(({ value }) => value)).toEqual(['earlier again'])
  })

  it('[BUS1, LIVE1] drops invalid live values of other servers and accepts later valid ones', () => {
    const { clock, told, live } = open()
    const garbage = [
      '',
      '{',
      'null',
      '[]',
      '[1]',
      JSON.stringify([{ ...fromThere(1, 1), lifeMs: 1e9 }]),
      JSON.stringify([{ ...fromThere(1, 1), order: -1 }]),
      JSON.stringify([{ ...fromThere(1, 1), value: { ...fromThere(1, 1).value, user: 'nobody' } }]),
      JSON.stringify(Array.from({ length: liveLimits.valuesPerMessageMax + 1 }, () => fromThere(1, 1))),
    ]
    for (const json of garbage) live.receive(conversation, json)
    live.receive('no conversation', JSON.stringify([fromThere(1, 1)]))
    expect(live.size).toBe(0)
    live.receive(conversation, JSON.stringify([fromThere(1, 1)]))
    clock.advance(0)
    expect(told).toHaveLength(1)
  })

  it('[LIM1] splits large publications of live values, and forgets users who left long ago', () => {
    const { clock, live, published } = open()
    for (let index = 0; index < 250; index++) live.set(conversation, 'typing', `u${index}`, true, 5_000)
    clock.advance(0)
    expect(published.map(({ length }) => length)).toEqual([100, 100, 50])
    for (let index = 0; index < liveLimits.leftMax + 1; index++) live.forget(conversation, `u${index}`)
    clock.advance(liveLimits.leftMs)
    live.tidy()
    expect(live.size).toBe(0)
  })

  it('[LIM1] keeps only the newest live values of a full conversation', () => {
    const { clock, live, told } = open()
    for (let index = 0; index < liveLimits.valuesPerConversationMax + 10; index++)
      live.set('c', 'typing', `u${index}`, true, 5_000)
    expect(live.list('c')).toHaveLength(liveLimits.valuesPerConversationMax)
    expect(live.list('c').some(({ user }) => user === 'u0')).toBe(false)
    clock.advance(0)
    expect(told[0]?.values).toHaveLength(liveLimits.valuesPerConversationMax)
    live.stop()
  })

  it('[LIM3] in a full conversation, first evicts a live value of the same user', () => {
    const { live } = open()
    live.set('c', 'typing', 'ada', true, 5_000)
    live.set('c', 'place', 'ada', 1, 5_000)
    for (let index = 0; index < liveLimits.valuesPerConversationMax - 2; index++)
      live.set('c', 'typing', `u${index}`, true, 5_000)
    live.set('c', 'mood', 'u7', 'good', 5_000)
    const values = live.list('c')
    expect(values).toHaveLength(liveLimits.valuesPerConversationMax)
    expect(values.filter(({ user }) => user === 'ada')).toHaveLength(2)
    expect(values.filter(({ user }) => user === 'u7').map(({ key }) => key)).toEqual(['mood'])
    live.stop()
  })

  it('[LIM3] limits the live values of one user by number and by size', () => {
    const live = openQuiet().live
    live.set('of others', 'typing', 'bob', true, 60_000)
    for (let index = 0; index < holdingLimits.perUserMax + 5; index++) live.set(`c${index}`, 'at', 'ada', index, 60_000)
    expect(live.list('c4')).toEqual([])
    expect(live.list('c5')).toHaveLength(1)
    for (let index = 0; index < 500; index++) live.set(`d${index}`, 'at', 'ada', 'x'.repeat(1_000), 60_000)
    const chars = Array.from({ length: 500 }, (_, index) => live.list(`d${index}`))
      .flat()
      .reduce((sum, { value }) => sum + JSON.stringify(value).length, 0)
    expect(chars).toBeLessThanOrEqual(holdingLimits.perUserMaxChars)
    expect(live.list('d499')).toHaveLength(1)
    expect(live.list('of others')).toHaveLength(1)
    live.stop()
  })

  it('[LIM1] a full server refuses live values of users without any', () => {
    const { live, pass } = openQuiet()
    const value = 'x'.repeat(1_000)
    let index = 0
    while (live.set(`c${index % 1_000}`, 'at', `u${index}`, value, 1_000)) index++
    expect(index * 1_002).toBeLessThanOrEqual(holdingLimits.totalMaxChars)
    expect((index + 1) * 1_002).toBeGreaterThan(holdingLimits.totalMaxChars)
    // A user who has values can still set one, because it replaces an own value.
    expect(live.set('c0', 'other', 'u1', value, 1_000)).toBe(true)
    expect(live.list('c1').some(({ user }) => user === 'u1')).toBe(false)
    pass(1_000)
    live.tidy()
    expect(live.set('c0', 'at', 'somebody new', value, 1_000)).toBe(true)
    live.stop()
  })

  it('[LIM1] refuses live values in new conversations above the limit', () => {
    const { live, pass } = openQuiet()
    for (let index = 0; index < liveLimits.conversationsMax; index++)
      live.set(`c${index}`, 'typing', `u${index}`, true, 1_000)
    expect(live.set('one more', 'typing', 'ada', true, 1_000)).toBe(false)
    expect(live.set('c0', 'typing', 'bob', true, 1_000)).toBe(true)
    pass(1_000)
    live.stop()
    expect(live.set('one more', 'typing', 'ada', true, 1_000)).toBe(true)
    live.stop()
    expect(live.size).toBe(0)
  })
})
