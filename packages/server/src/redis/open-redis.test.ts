/**
 * Tests the connection to real Redis servers: what prevents a start, what only degrades the server,
 * and how the connection recovers.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { hasRedis, startRedis, startRedisCluster, startRedisPair, startTcpProxy, waitForFact } from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis, type OpenRedisOptions } from './open-redis.ts'
import type { Redis } from './redis.ts'
import { redisLimits, redisConnection, reconnectDelayMs } from './redis-options.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function open(url: string, options: Partial<OpenRedisOptions> = {}): Promise<Redis> {
  const redis = await openRedis({
    url,
    variable: 'REDIS_URL',
    allowInsecure: false,
    logger: createLogger('silent', 'test'),
    clock: systemClock,
    ...options,
  })
  ends.push(() => redis.close())
  return redis
}

/** Starts a fake Redis that answers each command with the text that `answers` returns for it. */
async function pretend(answers: (line: string) => string): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      for (const line of bytes.toString().split(/(?=\*\d+\r\n)/)) socket.write(answers(line))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  ends.push(() => server.close())
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Clock that runs ten times as fast as real time, because some limits take several seconds. */
const fastClock: Clock = {
  ...systemClock,
  nowMs: () => systemClock.nowMs() * 10,
  setTimer: (run, afterMs) => systemClock.setTimer(run, afterMs / 10),
}

const counter = { lua: 'return redis.call("INCR", KEYS[1])' }

describe('an unusable Redis at the start of the server', () => {
  it('refuses to start with a public Redis that has no password', async () => {
    await expect(open('redis://192.0.2.1:6379')).rejects.toThrow(
      'REDIS_URL is "redis://192.0.2.1:6379"; 192.0.2.1 is a public address, and there is no password',
    )
    await expect(open('redis://0.0.0.0:6379')).rejects.toThrow(/public address/)
    await expect(open('redis://[2001:db8::1]:6379')).rejects.toThrow(/public address/)
    await expect(open('redis://127.0.0.1:1', { allowInsecure: true })).resolves.toBeDefined()
  })

  it('refuses to start with a Redis older than version 7', async () => {
    const info = 'redis_version:6.2.14\r\ncluster_enabled:0\r\n'
    const url = await pretend((line) => (line.includes('INFO') ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n'))
    await expect(open(url)).rejects.toThrow(`REDIS_URL is "${url}"; expected Redis 7 or later, found 6.2.14`)
  })

  it('refuses to start with a REDIS_URL that leads to no Redis', async () => {
    const url = await pretend(() => 'HTTP/1.1 400 Bad Request\r\n\r\n')
    await expect(open(url)).rejects.toThrow(/is not Redis|does not answer like Redis/)
  })

  it.skipIf(!hasRedis())('refuses to start with wrong Redis credentials or TLS on one side only', async () => {
    const plain = await startRedis({ password: 'secret' })
    ends.push(() => plain.remove())
    const tls = await startRedis({ tls: true })
    ends.push(() => tls.remove())
    const at = (port: number, scheme = 'redis', login = '') => `${scheme}://${login}127.0.0.1:${port}`
    await expect(open(at(plain.port))).rejects.toThrow(/NOAUTH/)
    const wrong = await open(at(plain.port, 'redis', ':wrong@')).catch((error: Error) => error.message)
    expect(wrong).toMatch(/unable to use it: WRONGPASS/)
    expect(wrong).not.toContain('wrong@')
    await expect(open(at(plain.port, 'rediss', ':secret@'))).rejects.toThrow('plain text, not TLS: use redis://')
    await expect(open(at(tls.port))).rejects.toThrow('it speaks TLS: use rediss://')
    await expect(open(at(tls.port, 'rediss'))).rejects.toThrow(/TLS failed/)
  })
})

describe.skipIf(!hasRedis())('the connection to Redis', () => {
  it('starts without Redis, reports it, and connects once Redis appears', async () => {
    const server = await startRedis()
    ends.push(() => server.remove())
    await server.kill9()
    const redis = await open(server.url)
    expect(redis.problem()).toMatch(/ECONNREFUSED/)
    await expect(redis.command('chorus:x', ['GET', 'chorus:x'])).rejects.toThrow(/unable to use Redis/)
    let returns = 0
    redis.onReconnect(() => returns++)
    await server.start()
    await waitForFact(() => redis.problem() === undefined)
    expect(returns).toBe(1)
    expect(await redis.command('chorus:x', ['INCR', 'chorus:x'])).toBe(1)
  })

  it('[LIM1] queues no commands while Redis is down, and reloads scripts afterwards', async () => {
    const server = await startRedis()
    ends.push(() => server.remove())
    const redis = await open(server.url)
    expect(await redis.script(counter, ['chorus:x'], [])).toBe(1)
    let returns = 0
    redis.onReconnect(() => returns++)
    await server.kill9()
    await waitForFact(() => redis.problem() !== undefined)
    const refused = await Promise.allSettled(Array.from({ length: 100 }, () => redis.script(counter, ['chorus:x'], [])))
    expect(refused.every(({ status }) => status === 'rejected')).toBe(true)
    await server.start({ isEmpty: true })
    await waitForFact(() => redis.problem() === undefined)
    expect(returns).toBe(1)
    // The hundred refused commands never ran, not even late.
    expect(await redis.script(counter, ['chorus:x'], [])).toBe(1)
  })

  it('[PUB1] buffers more bytes for Redis than the 16 kB default of a socket', async () => {
    const server = await startRedis()
    ends.push(() => server.remove())
    const { hostname, port } = new URL(server.url)
    const { socket } = redisConnection(server.url)
    const wire = connect({ host: hostname, port: Number(port), ...(socket as object) })
    expect(wire.writableHighWaterMark).toBe(redisLimits.writtenAheadMaxBytes)
    wire.destroy()
  })

  it('[PUB1] replaces a connection when Redis vanishes without closing it', async () => {
    const server = await startRedis()
    ends.push(() => server.remove())
    const proxy = await startTcpProxy(server.port)
    ends.push(() => proxy.remove())
    const redis = await open(`redis://127.0.0.1:${proxy.port}`, { clock: fastClock })
    expect(await redis.command('chorus:x', ['INCR', 'chorus:x'])).toBe(1)
    let returns = 0
    redis.onReconnect(() => returns++)
    proxy.abandon()
    await expect(redis.command('chorus:x', ['GET', 'chorus:x'])).rejects.toThrow(/does not answer/)
    await waitForFact(() => redis.problem() === undefined, { what: 'a new connection' })
    expect(returns).toBe(1)
    expect(await redis.command('chorus:x', ['GET', 'chorus:x'])).toBe('1')
  })

  it('sends no commands to an unresponsive Redis until it responds', async () => {
    const server = await startRedis()
    ends.push(() => server.remove())
    const redis = await open(server.url)
    server.pause()
    ends.push(() => server.resume())
    await expect(redis.command('chorus:x', ['GET', 'chorus:x'])).rejects.toThrow(/does not answer/)
    expect(redis.problem()).toMatch(/does not answer/)
    server.resume()
    await waitForFact(() => redis.problem() === undefined)
    expect(await redis.command('chorus:x', ['GET', 'chorus:x'])).toBeNull()
  })

  it('uses Redis again when a demoted Redis has become primary again', async () => {
    const pair = await startRedisPair()
    ends.push(() => pair.remove())
    const redis = await open(pair.primary.url)
    expect(await redis.command('chorus:x', ['SET', 'chorus:x', '1'])).toBe('OK')
    let returns = 0
    redis.onReconnect(() => returns++)
    await pair.replica.follow(undefined)
    await pair.primary.follow(pair.replica)
    await expect(redis.command('chorus:x', ['SET', 'chorus:x', '2'])).rejects.toThrow(/READONLY/)
    expect(redis.problem()).toMatch(/READONLY/)
    // Up to here, Redis is read-only and counts as unavailable.
    await pair.primary.follow(undefined)
    await waitForFact(() => redis.problem() === undefined)
    expect(returns).toBe(1)
  })

  it('reconnects to Redis after a failover until the address leads to the new primary', async () => {
    const pair = await startRedisPair()
    ends.push(() => pair.remove())
    let port = pair.primary.port
    const lines = new Set<Socket>()
    const address = createServer((socket) => {
      const onward = connect(port, '127.0.0.1')
      for (const line of [socket, onward]) {
        lines.add(line)
        line.on('error', () => undefined).on('close', () => lines.delete(line))
      }
      socket.pipe(onward).pipe(socket)
    })
    await new Promise<void>((resolve) => address.listen(0, '127.0.0.1', resolve))
    ends.push(() => {
      for (const line of lines) line.destroy()
      address.close()
    })
    const redis = await open(`redis://127.0.0.1:${(address.address() as AddressInfo).port}`)
    await pair.replica.follow(undefined)
    await pair.primary.follow(pair.replica)
    await expect(redis.command('chorus:x', ['SET', 'chorus:x', '1'])).rejects.toThrow(/READONLY/)
    // The client has reconnected, but still to the old primary. Only its next probe finds out that
    // this Redis is read-only.
    const linesBefore = new Set(lines)
    await waitForFact(() => [...lines].some((line) => !linesBefore.has(line)))
    await waitForFact(() => redis.problem()?.includes('READONLY') === true)
    port = pair.replica.port
    await waitForFact(() => redis.problem() === undefined)
    expect(await redis.command('chorus:x', ['SET', 'chorus:x', '2'])).toBe('OK')
  })

  it('a stall of the server process does not make Redis count as unavailable', async () => {
    const server = await startRedis()
    ends.push(() => server.remove())
    const redis = await open(server.url)
    const asked = redis.command('chorus:x', ['GET', 'chorus:x'])
    const untilMs = performance.now() + redisLimits.commandTimeoutMs + redisLimits.stillnessGraceMs + 300
    await new Promise((resolve) => setImmediate(resolve))
    while (performance.now() < untilMs);
    expect(await asked).toBeNull()
    expect(redis.problem()).toBeUndefined()
  })

  it('starts without a dead master of the Redis Cluster and uses it later', async () => {
    const cluster = await startRedisCluster({ masters: 3 })
    ends.push(() => cluster.remove())
    for (const master of cluster.masters) await master.command('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
    const dead = await cluster.ownerOf(await cluster.slotOf('chorus:{b}'))
    const alive = cluster.masters.find((master) => master !== dead)
    const keys = ['a', 'b', 'c', 'd', 'e', 'f'].map((tag) => `chorus:{${tag}}`)
    await dead.kill9()
    const redis = await open(alive?.url ?? '')
    expect(redis.isCluster).toBe(true)
    const outcomes = await Promise.allSettled(keys.map((key) => redis.script(counter, [key], [])))
    expect(outcomes[1]?.status).toBe('rejected')
    expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true)
    await dead.start()
    await waitForFact(async () => (await redis.script(counter, ['chorus:{b}'], []).catch(() => 0)) !== 0, {
      timeoutMs: 30_000,
    })
  })

  it('detects by itself that Redis is a cluster', async () => {
    const cluster = await startRedisCluster({ masters: 3 })
    ends.push(() => cluster.remove())
    const redis = await open(cluster.url)
    expect(redis.isCluster).toBe(true)
    for (const key of ['chorus:{a}', 'chorus:{b}', 'chorus:{c}', 'chorus:{d}'])
      expect(await redis.script(counter, [key], [])).toBe(1)
  })
})

it('[LIM2] reconnects to Redis with random delays below a growing limit', () => {
  for (let retries = 0; retries < 50; retries++) {
    const delayMs = reconnectDelayMs(retries)
    expect(delayMs).toBeGreaterThanOrEqual(redisLimits.reconnectMinMs)
    expect(delayMs).toBeLessThanOrEqual(redisLimits.reconnectMaxMs)
  }
})
