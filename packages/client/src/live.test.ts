/** Tests of live values, presence and typing, with a simulated clock. */
import type { LiveValue, Presence } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import type { SendRequest } from './wire/send-request.ts'
import { createHttpApi } from './wire/http-api.ts'
import { LiveValuesClient } from './conversation/live-values.ts'
import { PresenceSubscriptions, presencePollMs, unknownAfterMs, watchGatherMs } from './users/presence.ts'
import { ManualClock, settle } from './testing/manual-clock.ts'
import { createTyping, typingEveryMs } from './conversation/typing.ts'

function createRequest(answer: (name: string, request: Record<string, unknown>) => unknown = () => ({})) {
  const sent: [string, Record<string, unknown>][] = []
  const request = ((name: string, request: Record<string, unknown>) => {
    sent.push([name, request])
    return Promise.resolve(answer(name, request))
  }) as unknown as SendRequest
  return { request, sent }
}

function value(user: string, of: unknown, atMs: number, lifeMs = 6_000, key = 'typing'): LiveValue {
  const at = Date.parse('2031-05-05T00:00:00.000Z') + atMs
  return {
    conversation: 'c',
    key,
    user,
    value: of as LiveValue['value'],
    at: new Date(at).toISOString(),
    expiresAt: new Date(at + lifeMs).toISOString(),
  }
}

function setUpLive() {
  const clock = new ManualClock()
  const { request, sent } = createRequest()
  const requests: string[] = []
  const answer: typeof fetch = (input) => {
    requests.push(input instanceof Request ? input.url : input.toString())
    return Promise.resolve(Response.json({ values: [value('ann', { lat: 1 }, 0, 9_000, 'location')] }))
  }
  const lane = new LiveValuesClient({ api: createHttpApi({ url: 'http://x', fetch: answer }), request, clock })
  return { clock, sent, requests, lane }
}

describe('live values of the client', () => {
  it('[LIVE1] the live value that arrives last wins, and expires after its lifetime', async () => {
    const { clock, lane } = setUpLive()
    const typing = lane.of('c').observe('typing')
    typing.subscribe(() => undefined)
    lane.handle([value('ann', true, 1_000), value('bob', true, 1_000)])
    // The value that arrives last counts as the newest, even if its timestamp is older because that
    // server's clock is behind.
    lane.handle([value('bob', 'typing on', 0)])
    expect([...typing.get()].map(([user, { value: of }]) => [user, of])).toEqual([
      ['ann', true],
      ['bob', 'typing on'],
    ])
    lane.handle([value('bob', null, 2_000)])
    expect([...typing.get().keys()]).toEqual(['ann'])
    await clock.advance(5_999)
    expect([...typing.get().keys()]).toEqual(['ann'])
    await clock.advance(1)
    expect([...typing.get().keys()]).toEqual([])
    expect(clock.timers).toBe(0)
  })

  it('live values are requested when a listener subscribes, dropped when it unsubscribes', async () => {
    const { lane, requests } = setUpLive()
    const location = lane.of('c').observe('location')
    lane.handle([value('bob', 1, 0, 6_000, 'location')])
    expect(location.get().size).toBe(0)
    const unsubscribe = location.subscribe(() => undefined)
    await settle()
    await settle()
    expect([...location.get().keys()]).toEqual(['ann'])
    lane.resume()
    expect(requests).toHaveLength(2)
    unsubscribe()
    expect(location.get().size).toBe(0)
    lane
      .of('c')
      .observe('typing')
      .subscribe(() => undefined)
    expect(requests).toHaveLength(2)
  })
})

describe('the response with the current live values', () => {
  it('[LIVE1] a response does not overwrite live values received during its request', async () => {
    const clock = new ManualClock()
    const { request } = createRequest()
    let answer: (response: Response) => void = () => undefined
    const fetch: typeof globalThis.fetch = () =>
      new Promise((resolve) => {
        answer = resolve
      })
    const lane = new LiveValuesClient({ api: createHttpApi({ url: 'http://x', fetch }), request, clock })
    const location = lane.of('c').observe('location')
    location.subscribe(() => undefined)
    await settle()
    lane.handle([value('ann', 'new', 2_000, 9_000, 'location'), value('bob', null, 2_000, 0, 'location')])
    const values = ['ann', 'bob', 'cleo'].map((user) => value(user, 'old', 0, 9_000, 'location'))
    answer(Response.json({ values }))
    await settle()
    await settle()
    expect([...location.get()].map(([user, { value: of }]) => [user, of])).toEqual([
      ['ann', 'new'],
      ['cleo', 'old'],
    ])
  })
})

describe('the typing indicator', () => {
  it('the typing signal is sent at most every 3 s, and only while connected', async () => {
    const { clock, lane, sent } = setUpLive()
    let isConnected = true
    const typing = createTyping(lane.of('c'), 'me', clock, () => isConnected)
    typing.users.subscribe(() => undefined)
    for (let presses = 0; presses < 7; presses += 1) {
      typing.start()
      await clock.advance(typingEveryMs / 3)
    }
    expect(sent).toHaveLength(3)
    typing.stop()
    typing.stop()
    expect(sent.map(([, request]) => request['value'])).toEqual([true, true, true, null])
    isConnected = false
    typing.start()
    expect(sent).toHaveLength(4)
    lane.handle([value('me', true, 0), value('ann', true, 0)])
    expect(typing.users.get()).toEqual(['ann'])
  })
})

describe('presence on the client', () => {
  function setUp() {
    const clock = new ManualClock()
    const line = { isConnected: true, isFollowed: true }
    const { request, sent } = createRequest((name, request) =>
      name === 'watch-presence'
        ? {
            presence: (request['users'] as string[]).map(
              (user): Presence => ({ user, status: 'online', lastSeen: null }),
            ),
          }
        : {},
    )
    const board = new PresenceSubscriptions({
      request,
      clock,
      isConnected: () => line.isConnected,
      isFollowed: () => line.isFollowed,
    })
    return { clock, line, board, sent }
  }

  it('[PRES2] the client watches all observed users with one request', async () => {
    const { clock, board, sent } = setUp()
    const ann = board.observe('ann')
    const undo = [ann.subscribe(() => undefined), board.observe('bob').subscribe(() => undefined)]
    const { presence, close } = board.watch(['ann', 'cleo'])
    await clock.advance(watchGatherMs)
    expect(sent).toEqual([['watch-presence', { users: ['ann', 'bob', 'cleo'] }]])
    expect(ann.get().status).toBe('online')
    board.handle([{ user: 'cleo', status: 'away', lastSeen: null }])
    await settle()
    expect([...presence.get()].map(([user, { status }]) => [user, status])).toEqual([
      ['ann', 'online'],
      ['cleo', 'away'],
    ])
    close()
    for (const one of undo) one()
    await clock.advance(watchGatherMs)
    expect(sent.at(-1)).toEqual(['watch-presence', { users: [] }])
  })

  it('[PRES1] presence becomes `unknown`, not `offline`, after 5 s without a connection', async () => {
    const { clock, line, board } = setUp()
    const ann = board.observe('ann')
    ann.subscribe(() => undefined)
    await clock.advance(watchGatherMs)
    line.isConnected = false
    board.disconnected()
    await clock.advance(unknownAfterMs - 1)
    line.isConnected = true
    board.resume()
    await clock.advance(10)
    expect(ann.get().status).toBe('online')
    line.isConnected = false
    board.disconnected()
    await clock.advance(unknownAfterMs)
    expect(ann.get().status).toBe('unknown')
  })

  it('presence is requested regularly over a transport without presence updates', async () => {
    const { clock, line, board, sent } = setUp()
    line.isFollowed = false
    const unsubscribe = board.observe('ann').subscribe(() => undefined)
    await clock.advance(watchGatherMs + 2 * presencePollMs)
    expect(sent).toHaveLength(3)
    unsubscribe()
    await clock.advance(3 * presencePollMs)
    expect(sent).toHaveLength(4)
  })

  it('the client sends the status `away` again after a reconnect', async () => {
    const { board, sent } = setUp()
    await board.setStatus('away')
    board.resume()
    await settle()
    expect(sent).toEqual([
      ['set-status', { status: 'away' }],
      ['set-status', { status: 'away' }],
    ])
  })
})
