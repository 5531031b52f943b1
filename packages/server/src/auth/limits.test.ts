import { ChorusError } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { Limits } from './limits.ts'
import type { LimitName } from './limits.ts'
import { noLimits } from './testing/no-limits.ts'

const settings = {
  ...noLimits,
  limitSends: 30,
  limitRequests: 100,
  limitKeyRequests: 1_000,
  limitSignIns: 10,
  limitSignInsAddress: 100,
  limitConnections: 200,
}

function passes(action: () => void): boolean {
  try {
    action()
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(ChorusError)
    expect((error as ChorusError).code).toBe('rate-limited')
    expect((error as ChorusError).retryAfterMs).toBeGreaterThan(0)
    return false
  }
}

async function passesInTime(action: () => Promise<void>): Promise<boolean> {
  try {
    await action()
    return true
  } catch (error) {
    return passes(() => {
      throw error
    })
  }
}

async function countPassesInTime(times: number, action: () => Promise<void>): Promise<number> {
  let count = 0
  for (let n = 0; n < times; n++) if (await passesInTime(action)) count++
  return count
}

function countPasses(times: number, action: () => void): number {
  return Array.from({ length: times }, () => passes(action)).filter(Boolean).length
}

describe('the rate limits', () => {
  it('lets a user send 30 messages a second in bursts of 60', () => {
    const clock = new ManualClock()
    const limits = new Limits(settings, clock)
    expect(countPasses(100, () => limits.takeSend('anna'))).toBe(60)
    clock.advance(1_000)
    expect(countPasses(100, () => limits.takeSend('anna'))).toBe(30)
    expect(countPasses(100, () => limits.takeSend('ben'))).toBe(60)
    clock.advance(60_000)
    expect(countPasses(100, () => limits.takeSend('anna'))).toBe(60)
  })

  it('a refusal names the time after which the request passes', () => {
    const clock = new ManualClock()
    const limits = new Limits(settings, clock)
    countPasses(60, () => limits.takeSend('anna'))
    let retryAfterMs = 0
    try {
      limits.takeSend('anna')
    } catch (error) {
      retryAfterMs = (error as ChorusError).retryAfterMs ?? 0
    }
    expect(retryAfterMs).toBe(34)
    clock.advance(retryAfterMs)
    expect(passes(() => limits.takeSend('anna'))).toBe(true)
  })

  it('counts other requests apart from messages, in a limit of their own', () => {
    const limits = new Limits(settings, new ManualClock())
    expect(countPasses(150, () => limits.takeRequest('anna'))).toBe(100)
    expect(countPasses(100, () => limits.takeSend('anna'))).toBe(60)
  })

  it('allows ten sign-ins a minute per account and network, ignoring handle case', async () => {
    const clock = new ManualClock()
    const limits = new Limits(settings, clock)
    let n = 0
    expect(await countPassesInTime(50, () => limits.takeSignIn(n++ % 2 === 0 ? 'Anna' : 'anna', '10.0.0.1'))).toBe(10)
    expect(await passesInTime(() => limits.takeSignIn('anna', '10.0.0.2'))).toBe(true)
    clock.advance(59_999)
    expect(await passesInTime(() => limits.takeSignIn('anna', '10.0.0.1'))).toBe(false)
    clock.advance(1)
    expect(await passesInTime(() => limits.takeSignIn('anna', '10.0.0.1'))).toBe(true)
  })

  it('allows fifty sign-ins a minute per account over all networks', async () => {
    const limits = new Limits(settings, new ManualClock())
    let n = 0
    expect(await countPassesInTime(90, () => limits.takeSignIn('anna', `10.0.${n++}.1`))).toBe(50)
  })

  it('lets the owner sign in while attackers guess from many networks', async () => {
    const limits = new Limits(settings, new ManualClock())
    await limits.takeSignIn('anna', '10.9.0.1')
    limits.noteSignedIn('Anna', '10.9.0.1')
    let n = 0
    expect(await countPassesInTime(90, () => limits.takeSignIn('anna', `10.0.${n++}.1`))).toBeLessThan(51)
    expect(await countPassesInTime(20, () => limits.takeSignIn('ANNA', '10.9.0.1'))).toBe(9)
    // A network that is known for Ben's account is not known for Anna's.
    limits.noteSignedIn('ben', '10.9.0.2')
    expect(await passesInTime(() => limits.takeSignIn('anna', '10.9.0.2'))).toBe(false)
  })

  it('normalizes handles and addresses before it counts sign-ins', async () => {
    const limits = new Limits(settings, new ManualClock())
    const handles = ['anna', 'Anna', 'ANNA']
    const addresses = ['2001:db8::1', '2001:DB8:0:0:ffff::2', '2001:0db8:0000::3%eth0']
    let n = 0
    expect(await countPassesInTime(60, () => limits.takeSignIn(handles[n % 3] ?? '', addresses[n++ % 3] ?? ''))).toBe(
      10,
    )
    // The dotted capital I is not ASCII, so no such handle exists, and it counts as another
    // account.
    expect(await passesInTime(() => limits.takeSignIn('Anna\u0130', '2001:db8::1'))).toBe(true)
  })

  it('allows a hundred sign-ins a minute per address or IPv6 network', async () => {
    const limits = new Limits(settings, new ManualClock())
    let n = 0
    expect(await countPassesInTime(200, () => limits.takeSignIn(`user${n++}`, '10.0.0.1'))).toBe(100)
    expect(await countPassesInTime(200, () => limits.takeSignUp(`2001:db8:0:1::${(n++).toString(16)}`))).toBe(100)
    expect(await passesInTime(() => limits.takeSignUp('2001:db8:0:2::1'))).toBe(true)
  })

  it('counts open connections by address; closing one twice counts once', () => {
    const limits = new Limits(settings, new ManualClock())
    const close = Array.from({ length: 200 }, () => limits.openConnection('10.0.0.1'))
    expect(passes(() => limits.openConnection('10.0.0.1'))).toBe(false)
    expect(passes(() => limits.openConnection('10.0.0.2'))).toBe(true)
    close[0]!()
    close[0]!()
    expect(countPasses(3, () => limits.openConnection('10.0.0.1'))).toBe(1)
  })

  it('a rate limit of 0 refuses nothing', async () => {
    const limits = new Limits(noLimits, new ManualClock())
    expect(countPasses(2_000, () => limits.takeSend('a'))).toBe(2_000)
    expect(countPasses(2_000, () => limits.takeRequest('a'))).toBe(2_000)
    expect(await countPassesInTime(2_000, () => limits.takeSignIn('a', '10.0.0.1'))).toBe(2_000)
    expect(countPasses(2_000, () => limits.openConnection('10.0.0.1'))).toBe(2_000)
    expect(countPasses(2_000, () => limits.takeMembers('a', 100))).toBe(2_000)
    expect(countPasses(2_000, () => limits.takeStrangers('a', ['b']))).toBe(2_000)
    expect(countPasses(2_000, () => limits.takeConnect('a'))).toBe(2_000)
    expect(countPasses(2_000, () => limits.takeConnectFrom('10.0.0.1'))).toBe(2_000)
    expect(limits.refusalOfWire('10.0.0.1')).toBeUndefined()
  })

  it('[LIM3] a heavy request takes several tokens; a later charge delays the next request', () => {
    const clock = new ManualClock()
    const limits = new Limits({ ...noLimits, limitRequests: 100 }, clock)
    expect(countPasses(20, () => limits.takeRequest('anna', 10))).toBe(10)
    clock.advance(1_000)
    // A cost charged after the request only delays later requests. Whatever the cost, the bucket is
    // full again after at most two refills.
    limits.chargeRequest('anna', 5_000)
    clock.advance(1_000)
    expect(passes(() => limits.takeRequest('anna'))).toBe(false)
    clock.advance(1_000)
    expect(countPasses(200, () => limits.takeRequest('anna'))).toBe(100)
  })

  it('[LIM3] passes a request heavier than a whole bucket when the bucket is full', () => {
    const clock = new ManualClock()
    const limits = new Limits({ ...noLimits, limitMembers: 2 }, clock)
    expect(passes(() => limits.takeMembers('anna', 30))).toBe(true)
    clock.advance(14_900)
    expect(passes(() => limits.takeMembers('anna', 30))).toBe(false)
    clock.advance(100)
    expect(passes(() => limits.takeMembers('anna', 30))).toBe(true)
  })

  it('[ADD1] counts added strangers per hour, for the adder and each added user', () => {
    const clock = new ManualClock()
    const limits = new Limits({ ...noLimits, limitStrangers: 10 }, clock)
    const strangers = (count: number, prefix: string) => Array.from({ length: count }, (_, n) => `${prefix}${n}`)
    expect(countPasses(20, () => limits.takeStrangers('adder', [`x${clock.nowMs()}`]))).toBe(10)
    expect(passes(() => limits.takeStrangers('second', strangers(10, 's')))).toBe(true)
    let n = 0
    expect(countPasses(20, () => limits.takeStrangers(`many${n++}`, ['victim']))).toBe(10)
    expect(passes(() => limits.takeStrangers('third', ['somebody']))).toBe(true)
    clock.advance(360_000)
    expect(countPasses(3, () => limits.takeStrangers('adder', ['late']))).toBe(1)
    clock.advance(3_600_000)
    expect(countPasses(20, () => limits.takeStrangers(`later${n++}`, ['victim']))).toBe(10)
  })

  it('[LIM3] limits opened connections by user and address; a flood is refused early', () => {
    const clock = new ManualClock()
    const limits = new Limits({ ...noLimits, limitConnects: 2, limitConnectsAddress: 3 }, clock)
    expect(countPasses(100, () => limits.takeConnect('anna'))).toBe(20)
    expect(limits.refusalOfWire('10.0.0.1')).toBeUndefined()
    expect(countPasses(100, () => limits.takeConnectFrom('10.0.0.1'))).toBe(30)
    const told = Array.from({ length: 100 }, () => limits.refusalOfWire('10.0.0.1'))
    expect(told.filter((refusal) => refusal === undefined)).toHaveLength(30)
    expect(told.at(-1)).toMatchObject({ code: 'rate-limited' })
    expect(limits.refusalOfWire('10.0.0.2')).toBeUndefined()
    clock.advance(1_000)
    expect(countPasses(100, () => limits.takeConnectFrom('10.0.0.1'))).toBe(3)
    expect(countPasses(100, () => limits.takeConnect('anna'))).toBe(2)
  })

  it('[LIM1] a limit with too many keys evicts the least recently used key', () => {
    const refusals: LimitName[] = []
    const limits = new Limits(settings, new ManualClock(), (limit) => refusals.push(limit))
    expect(countPasses(61, () => limits.takeSend('first'))).toBe(60)
    for (let n = 0; n < 99_999; n++) limits.takeSend(`u${n}`)
    expect(passes(() => limits.takeSend('first'))).toBe(false)
    for (let n = 0; n < 100_000; n++) limits.takeSend(`v${n}`)
    expect(passes(() => limits.takeSend('first'))).toBe(true)
    expect(refusals).toEqual(['sends', 'sends'])
  })
})
