import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import type { NamedJwk } from './fetch-key-set.ts'
import { JwksCache, jwksTimings, waitingMax } from './jwks-cache.ts'

const url = 'https://issuer.example/keys'
const waitForTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const network = '203.0.113.7'

function build() {
  const clock = new ManualClock()
  const issuer = { kids: ['old'], isDown: false, loads: 0, gate: undefined as Promise<void> | undefined }
  const cache = new JwksCache({
    clock,
    fetch: async (): Promise<NamedJwk[]> => {
      issuer.loads++
      const { kids, isDown } = issuer
      await issuer.gate
      if (isDown) throw new Error('down')
      return kids.map((kid) => ({ kid, jwk: { kid } }))
    },
  })
  const find = async (kid: string, from = network): Promise<number | string> =>
    cache.find(kid, [url], from).then(
      (found) => found.length,
      (error: { code: string; retryAfterMs: number }) => `${error.code} ${error.retryAfterMs}`,
    )
  return { clock, issuer, cache, find }
}

describe('a set', () => {
  it('loads once for all tokens that need it', async () => {
    const { issuer, find } = build()
    expect(await Promise.all([find('old'), find('old', 'other'), find('old')])).toEqual([1, 1, 1])
    expect(issuer.loads).toBe(1)
  })

  it('refreshes in the background before it is old, and waits for the refresh after', async () => {
    const { clock, issuer, find } = build()
    await find('old')
    issuer.kids = ['new']
    clock.advance(jwksTimings.refreshAfterMs)
    issuer.gate = new Promise((resolve) => setTimeout(resolve, 20))
    expect(await find('old')).toBe(1)
    expect(issuer.loads).toBe(2)
    await issuer.gate
    expect(await find('new')).toBe(1)
    issuer.kids = ['newest']
    clock.advance(jwksTimings.freshMs)
    issuer.gate = new Promise((resolve) => setTimeout(resolve, 20))
    expect(await find('newest')).toBe(1)
  })

  it('[TOKEN2] delays no registered key while its URL is dead', async () => {
    const { clock, issuer, cache, find } = build()
    issuer.isDown = true
    expect(await cache.peek('registered', [url])).toEqual([])
    issuer.gate = new Promise(() => undefined)
    clock.advance(jwksTimings.intervalMs)
    expect(await cache.peek('registered', [url])).toEqual([])
    expect(issuer.loads).toBe(2)
    expect(await cache.peek('registered', [url])).toEqual([])
    expect(await Promise.race([find('fetched'), waitForTurn()])).toBeUndefined()
  })

  it('[TOKEN2] serves stale keys at once for a day while its URL is down', async () => {
    const { clock, issuer, find } = build()
    await find('old')
    issuer.isDown = true
    clock.advance(jwksTimings.freshMs)
    expect(await find('old')).toBe(1)
    issuer.gate = new Promise(() => undefined)
    clock.advance(jwksTimings.retryMs)
    expect(await find('old')).toBe(1)
    for (let minutes = 11; minutes < 1_440; minutes += 10) {
      clock.advance(600_000 - 1_000)
      expect(await find('old')).toBe(1)
    }
  })

  it('[TOKEN2] uses no key that is older than a day', async () => {
    const { clock, issuer, find } = build()
    await find('old')
    issuer.isDown = true
    clock.advance(jwksTimings.staleMs + 1)
    expect(await find('old')).toMatch(/^unavailable/)
    issuer.isDown = false
    expect(await find('old')).toBe(1)
  })

  it('[TOKEN2] answers unavailable while it has never been loaded, and recovers', async () => {
    const { clock, issuer, find } = build()
    issuer.isDown = true
    expect(await find('old')).toMatch(/^unavailable/)
    expect(issuer.loads).toBe(1)
    for (let n = 0; n < 50; n++) expect(await find('old', `network-${n}`)).toMatch(/^unavailable/)
    expect(issuer.loads).toBe(3)
    issuer.isDown = false
    expect(await find('old')).toBe('unavailable 5000')
    clock.advance(jwksTimings.intervalMs)
    expect(await find('old')).toBe(1)
  })

  it('is dropped with its registration', async () => {
    const { issuer, cache, find } = build()
    await find('old')
    expect(await cache.find('old', [], network)).toEqual([])
    await find('old')
    expect(issuer.loads).toBe(2)
  })
})

describe('unknown kids', () => {
  it('[TOKEN2] are found at once after a rotation, and refused after a load of their own', async () => {
    const { issuer, find } = build()
    await find('old')
    issuer.kids = ['fresh']
    expect(await find('fresh')).toBe(1)
    expect(await find('wrong')).toBe(0)
    expect(await find('wrong')).toBe(0)
    expect(await find('wrong', 'other')).toBe(0)
    expect(issuer.loads).toBe(3)
  })

  it('[TOKEN2] join a load in progress, which refuses none of them', async () => {
    const { clock, issuer, find } = build()
    await find('old')
    let open = (): void => undefined
    issuer.gate = new Promise((resolve) => {
      open = resolve
    })
    const garbage = find('garbage')
    await waitForTurn()
    issuer.kids = ['old', 'fresh']
    const fresh = find('fresh', 'other')
    await waitForTurn()
    open()
    expect(await garbage).toBe(0)
    expect(await fresh).toMatch(/^unavailable/)
    issuer.gate = undefined
    clock.advance(jwksTimings.intervalMs)
    expect(await find('fresh', 'other')).toBe(1)
  })

  it.each(['cold', 'warm'])('[TOKEN2] cause at most two loads a minute from one network, %s', async (start) => {
    const { clock, issuer, find } = build()
    if (start === 'warm') await find('old')
    issuer.loads = 0
    for (let n = 0; n < 10_000; n++) {
      await find(`garbage-${n}`)
      clock.advance(6)
    }
    expect(issuer.loads).toBe(2)
  })

  it('[LIM1] [TOKEN2] wait for a slow load in limited number, of one network and of all', async () => {
    const { issuer, find } = build()
    let open = (): void => undefined
    issuer.gate = new Promise((resolve) => {
      open = resolve
    })
    const refusals: (number | string)[] = []
    const ask = (count: number, from: string) => {
      for (let n = 0; n < count; n++) void find(`${from}-${n}`, from).then((refusal) => refusals.push(refusal))
    }
    ask(waitingMax.ofNetwork + 1, network)
    await waitForTurn()
    expect(refusals).toEqual(['unavailable 500'])
    for (let n = 0; n < waitingMax.ofAll / waitingMax.ofNetwork; n++) ask(waitingMax.ofNetwork, `network-${n}`)
    await waitForTurn()
    expect(refusals).toHaveLength(1 + waitingMax.ofNetwork)
    issuer.kids = ['old', 'fresh']
    open()
    await waitForTurn()
    issuer.gate = undefined
    expect(await find('fresh')).toBe(1)
  })

  it('[TOKEN2] do not delay a fresh key of another network', async () => {
    const { clock, issuer, find } = build()
    await find('old')
    for (let n = 0; n < 2_000; n++) {
      await find(`garbage-${n}`)
      clock.advance(10)
    }
    issuer.kids = ['fresh']
    expect(await find('fresh', 'other')).toBe(1)
    // The same load made it known to all.
    expect(await find('fresh')).toBe(1)
  })

  it('[TOKEN2] do not refuse a fresh key of their own network, which passes within a minute', async () => {
    const { clock, issuer, find } = build()
    for (let n = 0; n < 1_000; n++) await find(`garbage-${n}`)
    issuer.kids = ['fresh']
    for (let seconds = 0; seconds < 60; seconds++) {
      expect(await find('fresh')).toMatch(/^unavailable/)
      for (let n = 0; n < 50; n++) await find(`garbage-${seconds}-${n}`)
      clock.advance(1_000)
    }
    expect(await find('fresh')).toBe(1)
  })

  it('[TOKEN2] of many networks delay a fresh key by at most five seconds', async () => {
    const { clock, issuer, find } = build()
    await find('old')
    let found: number | string = 0
    for (let ms = 0; ms <= 60_000; ms += 100) {
      for (let n = 0; n < 20; n++) await find(`garbage-${ms}-${n}`, `network-${ms}-${n}`)
      if (ms === 40_000) issuer.kids = ['fresh']
      if (ms >= 40_000 && ms <= 45_000) found = await find('fresh', 'mine')
      clock.advance(100)
    }
    expect(found).toBe(1)
    expect(issuer.loads).toBeLessThanOrEqual(15)
  })
})
