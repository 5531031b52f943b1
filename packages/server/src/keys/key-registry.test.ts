/** Tests the list of live API keys in memory: how old it may be, and when it is read. */
import { expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { hashSecret, KeyRegistry, registryTimings } from './key-registry.ts'
import type { ApiKey } from './key-store.ts'

const keyOf = (id: string, ...secrets: string[]): ApiKey => ({
  id,
  name: id,
  scopes: ['read'],
  botUser: `bot of ${id}`,
  secretHashes: secrets.map(hashSecret),
  signingSecrets: [],
  publicKeys: [],
  keySetUrl: undefined,
})

function open(keys: ApiKey[]) {
  const clock = new ManualClock()
  const counts = { loads: 0 }
  const touched: (readonly string[])[] = []
  const registry = new KeyRegistry({
    load: async () => {
      counts.loads++
      return [...keys]
    },
    touch: async (ids) => void touched.push(ids),
    clock,
    onProblem: () => undefined,
  })
  return { clock, counts, touched, registry }
}

it('[KEY1] finds the key of its secret, and of the previous one during a rotation', async () => {
  const { registry } = open([keyOf('a', 'new', 'old'), keyOf('b', 'other')])
  expect((await registry.findBySecret('new'))?.id).toBe('a')
  expect((await registry.findBySecret('old'))?.id).toBe('a')
  expect((await registry.findBySecret('other'))?.id).toBe('b')
  expect(await registry.findBySecret(hashSecret('other'))).toBeUndefined()
})

it('[ACL2] [KEY1] reads a list older than half a second again before it uses it', async () => {
  const keys = [keyOf('a', 'secret')]
  const { clock, registry } = open(keys)
  expect((await registry.findBySecret('secret'))?.id).toBe('a')
  keys.length = 0
  clock.advance(registryTimings.trustedMs - 1)
  expect(await registry.isLive('a')).toBe(true)
  clock.advance(1)
  expect(await registry.findBySecret('secret')).toBeUndefined()
  expect(await registry.isLive('a')).toBe(false)
})

it('[LIM1] unknown secrets cause no further reads, and concurrent requests share one', async () => {
  const { counts, registry } = open([keyOf('a', 'secret')])
  const found = await Promise.all(Array.from({ length: 1_000 }, (_, n) => registry.findBySecret(`wrong ${n}`)))
  expect(found.every((key) => key === undefined)).toBe(true)
  expect(counts.loads).toBe(1)
})

it('[KEY1] answers unavailable while keys cannot be read, and reads again', async () => {
  const clock = new ManualClock()
  let isDown = true
  const registry = new KeyRegistry({
    load: () => (isDown ? Promise.reject(new Error('down')) : Promise.resolve([keyOf('a', 'secret')])),
    touch: async () => undefined,
    clock,
    onProblem: () => undefined,
  })
  await expect(registry.findBySecret('secret')).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 })
  isDown = false
  expect((await registry.findBySecret('secret'))?.id).toBe('a')
})

it('stores times of last use at once, then once a minute, and at its stop', async () => {
  const { clock, touched, registry } = open([keyOf('a', 'secret'), keyOf('b', 'other')])
  await registry.findBySecret('secret')
  clock.advance(0)
  expect(touched).toEqual([['a']])
  await registry.findBySecret('secret')
  await registry.findBySecret('other')
  clock.advance(registryTimings.touchMs - 1)
  expect(touched).toHaveLength(1)
  clock.advance(1)
  expect(touched).toEqual([['a'], ['a', 'b']])
  await registry.findBySecret('other')
  await registry.stop()
  expect(touched.at(-1)).toEqual(['b'])
})
