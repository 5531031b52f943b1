/** Tests the testkit's own Redis: restart, failover, moving slots, TLS. */
import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { hasRedis, startRedis, startRedisCluster, startRedisPair } from './redis.ts'
import { waitForFact } from './wait-for-fact.ts'

const removals: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const remove of removals) await remove()
})

describe.skipIf(!hasRedis())('a Redis of the testkit', () => {
  it('a killed Redis restarts on its port without its data', async () => {
    const redis = await startRedis({ password: 'a "pass" word' })
    removals.push(redis.remove)
    expect(await redis.command('SET', 'a', 1)).toBe('OK')
    const { pid, port } = redis
    await redis.kill9()
    await expect(redis.command('PING')).rejects.toThrow()
    await redis.start()
    expect(redis.port).toBe(port)
    expect(redis.pid).not.toBe(pid)
    expect(await redis.command('GET', 'a')).toBeNull()
  })

  it('Redis keeps its data with `keepsData`, unless it is started with `isEmpty`', async () => {
    const redis = await startRedis({ keepsData: true })
    removals.push(redis.remove)
    await redis.command('SET', 'a', 1)
    await redis.kill9()
    await redis.start()
    expect(await redis.command('GET', 'a')).toBe('1')
    await redis.stop()
    await redis.start({ isEmpty: true })
    expect(await redis.command('GET', 'a')).toBeNull()
  })

  it('a paused Redis sends no replies', async () => {
    const redis = await startRedis()
    removals.push(redis.remove)
    redis.pause()
    let answer: unknown
    const asked = redis.command('PING').then((reply) => (answer = reply))
    // Wait until /proc shows the process as stopped: from then on, Redis cannot reply.
    await waitForFact(() => / T /.test(readFileSync(`/proc/${redis.pid}/stat`, 'utf8')), { what: 'a stopped process' })
    expect(answer).toBeUndefined()
    redis.resume()
    expect(await asked).toBe('PONG')
  })

  it('Redis speaks TLS with a certificate that clients can verify', async () => {
    const redis = await startRedis({ tls: true })
    removals.push(redis.remove)
    expect(redis.url).toMatch(/^rediss:/)
    expect(await redis.command('PING')).toBe('PONG')
  })
})

describe.skipIf(!hasRedis())('a Redis primary with a replica', () => {
  it('after a failover, the old Redis primary rejoins as a replica', async () => {
    const pair = await startRedisPair()
    removals.push(pair.remove)
    await pair.primary.command('SET', 'a', 1)
    await waitForFact(async () => (await pair.replica.command('GET', 'a')) === '1', { what: 'the key at the replica' })
    await expect(pair.replica.command('SET', 'b', 1)).rejects.toThrow(/READONLY/)
    await pair.failOver()
    expect(await pair.replica.command('SET', 'b', 1)).toBe('OK')
    await pair.rejoin()
    await expect(pair.primary.command('SET', 'c', 1)).rejects.toThrow(/READONLY/)
    expect(await pair.primary.command('GET', 'b')).toBe('1')
  })
})

describe.skipIf(!hasRedis())('a Redis Cluster of three masters', () => {
  it('a Redis Cluster moves a slot with its keys and recovers after a restart', async () => {
    const cluster = await startRedisCluster({ masters: 3 })
    removals.push(cluster.remove)
    const slot = await cluster.slotOf('{a}')
    const from = await cluster.ownerOf(slot)
    const to = cluster.masters.find((master) => master !== from)!
    await from.command('SET', '{a}', 'kept')
    await cluster.moveSlot(slot, from, to)
    expect(await to.command('GET', '{a}')).toBe('kept')
    await expect(from.command('GET', '{a}')).rejects.toThrow(/MOVED/)
    expect(await cluster.ownerOf(slot)).toBe(to)
    await to.kill9()
    await to.start()
    await cluster.waitForOk()
    expect(await cluster.ownerOf(slot)).toBe(to)
    expect(await to.command('GET', '{a}')).toBeNull()
  })
})
