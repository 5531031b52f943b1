/**
 * Tests webhooks end to end: from the change log to an external server, through failures, restarts
 * and an emptied Redis.
 */
import { hasRedis, type Redis as RedisServer, startRedis } from '@chorus/testkit'
import type { Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { readConfig } from '../config/config.ts'
import { type Jobs, startJobs } from '../start/start-jobs.ts'
import { openConsumerLog } from '../log/consumer-log.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import {
  addEndpoint,
  listDeadLetters,
  listEndpoints,
  replay,
  retryDeadLetter,
  rotateSecret,
  setEndpointEnabled,
  storeWebhookPage,
} from './webhooks.ts'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { Metrics } from '../support/metrics.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { startReceiver, testSecret, type WebhookReceiver } from './testing/webhook-receiver.ts'

const patience = { timeout: 30_000, interval: 50 }
vi.setConfig({ testTimeout: 90_000 })

describe.each(testEngines)('webhooks (%s)', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let receiver: WebhookReceiver
  let sender: Id
  const running: { jobs: Jobs; metrics: Metrics }[] = []
  const logged: string[] = []
  const logger = createLogger('info', 'test', { write: (line) => void logged.push(line) })

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    sender = await fixture.user()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    receiver = await startReceiver()
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map(({ jobs, metrics }) => jobs.stop().finally(() => metrics.stop())))
    await receiver.close()
    await fixture.sql('delete from webhook_endpoints')
    logged.length = 0
  })

  async function start(
    environment: Record<string, string> = {},
    redis?: Redis,
    database = store.database,
  ): Promise<Jobs> {
    const epoch = await database.epoch()
    const metrics = new Metrics()
    const config = readConfig({ DATABASE_URL: 'postgres://unused@127.0.0.1/unused', ...environment })
    const jobs = await startJobs({
      config,
      database,
      epoch: () => epoch,
      redis,
      now: () => new Date(),
      clock: systemClock,
      logger,
      metrics,
      statusOf: async () => 'offline',
      firstDelayMs: 100,
    })
    running.push({ jobs, metrics })
    return jobs
  }

  async function subscribe(to = receiver, types: Parameters<typeof addEndpoint>[1]['types'] = null): Promise<Id> {
    const id = uuidv7()
    await addEndpoint(store.database, { id, url: to.url, types, secret: testSecret })
    return id
  }

  /**
   * Returns the distinct seqs of one conversation that an endpoint accepted, in order of first
   * arrival.
   */
  const acceptedOf = (conversation: Id, from = receiver): number[] => {
    const seqs = from
      .accepted()
      .filter((entry) => entry.startsWith(conversation))
      .map((entry) => Number(entry.split('/')[1]))
    return seqs.filter((seq, index) => seqs.indexOf(seq) === index)
  }

  it('[OFF1] delivers every change to a webhook in seq order, as clients see it', async () => {
    await subscribe()
    await start()
    const groups = [await fixture.group([sender]), await fixture.group([sender]), await fixture.group([sender])]
    for (let i = 0; i < 30; i++) await fixture.send(groups[i % 3]!, sender, `hello ${i}`)
    await expect.poll(() => receiver.accepted().length, patience).toBe(36)
    for (const group of groups) expect(acceptedOf(group)).toEqual(await fixture.seqs(group))
    const { id, body, seq, conversation, headers } = receiver.received.find(({ type }) => type === 'message.created')!
    expect(id).toMatch(new RegExp(`^[0-9a-f]{12}\\.${conversation}\\.${seq}$`))
    expect(headers['content-type']).toBe('application/json')
    const event = JSON.parse(body)
    expect(Object.keys(event)).toEqual(['type', 'timestamp', 'data'])
    expect(event.timestamp).toBe(event.data.change.at)
    expect(event.data.change.message).toMatchObject({ conversation, seq, sender, attachments: [] })
    // The server deletes the row of a finished webhook lane some time after the response, so wait
    // for that.
    await expect.poll(() => fixture.sql('select from webhook_lanes'), patience).toEqual([])
  })

  it('[OFF1] [RES5] webhooks deliver changes of unknown types and then the later changes', async () => {
    await subscribe()
    await start()
    const group = await fixture.group([sender])
    const { seq: other, at } = await fixture.appendOther(group, sender, { type: 'message.later', target: 1 })
    const { seq: broken } = await fixture.appendOther(group, sender, { type: 'reaction.added' })
    const { seq: last } = await fixture.send(group, sender, 'after')
    await expect.poll(() => acceptedOf(group).at(-1), patience).toBe(last)
    expect(acceptedOf(group)).toEqual((await fixture.seqs(group)).filter((seq) => seq !== broken))
    const event = JSON.parse(receiver.received.find(({ type }) => type === 'message.later')!.body)
    expect(event.data).toEqual({
      conversation: group,
      change: { seq: other, type: 'message.later', at, actor: sender },
    })
  })

  it('webhooks deliver only the requested types, from the subscription on', async () => {
    const group = await fixture.group([sender])
    await fixture.send(group, sender, 'before')
    await subscribe(receiver, ['message.edited'])
    await start()
    await fixture.send(group, sender, 'after')
    await fixture.apply({ op: 'edit', conversation: group, actor: sender, target: 4, text: 'changed' })
    await expect.poll(() => receiver.accepted(), patience).toEqual([`${group}/5`])
  })

  it("webhooks deliver no messages of the canary, the server's own test conversation", async () => {
    await subscribe()
    const [theirs, ours] = [await fixture.group([sender]), await fixture.group([sender])]
    await fixture.sql(
      `insert into settings (key, value) values ('canary', '{"conversation": "${theirs}", "owner": "${sender}"}')`,
    )
    await start()
    await fixture.send(theirs, sender, 'canary')
    await fixture.send(ours, sender, 'hello')
    await expect.poll(() => acceptedOf(ours), patience).toEqual(await fixture.seqs(ours))
    expect(acceptedOf(theirs)).toEqual([])
    await fixture.sql(`delete from settings where key = 'canary'`)
  })

  it('[OFF1] a failing webhook blocks only its conversation and is retried with the same id', async () => {
    await subscribe()
    const [bad, good] = [await fixture.group([sender]), await fixture.group([sender])]
    let isBroken = true
    receiver.answer = ({ conversation, seq }) => (conversation === bad && seq === 2 && isBroken ? 500 : 200)
    await start()
    for (let i = 0; i < 3; i++) {
      await fixture.send(bad, sender)
      await fixture.send(good, sender)
    }
    await expect.poll(() => acceptedOf(good), patience).toEqual([1, 2, 3, 4, 5])
    await expect
      .poll(
        () => receiver.received.filter(({ conversation, seq }) => conversation === bad && seq === 2).length,
        patience,
      )
      .toBeGreaterThan(2)
    expect(acceptedOf(bad)).toEqual([1])
    isBroken = false
    await expect.poll(() => acceptedOf(bad), patience).toEqual([1, 2, 3, 4, 5])
    const tries = receiver.received.filter(({ conversation, seq }) => conversation === bad && seq === 2)
    expect(new Set(tries.map(({ id }) => id)).size).toBe(1)
  })

  it('a webhook refused for too long becomes a dead letter that can be retried', async () => {
    const endpoint = await subscribe()
    const group = await fixture.group([sender])
    receiver.answer = ({ seq }) => (seq === 2 ? 503 : 200)
    await start({ WEBHOOK_GIVE_UP_S: '1' })
    await expect.poll(() => acceptedOf(group), patience).toEqual([1])
    await fixture.send(group, sender)
    await expect.poll(() => acceptedOf(group), patience).toEqual([1, 3])
    const [letter, ...others] = await listDeadLetters(store.database, 10)
    expect(others).toEqual([])
    expect(letter).toMatchObject({ endpoint, conversation: group, seq: 2, lastStatus: 503, lastError: 'answered 503' })
    expect(logged.some((line) => line.includes('dead letter'))).toBe(true)

    receiver.answer = () => 200
    expect(await retryDeadLetter(store.database, letter!.eventId, undefined)).toBe(1)
    await expect.poll(() => acceptedOf(group), patience).toEqual([1, 3, 2])
    expect(await listDeadLetters(store.database, 10)).toEqual([])
  })

  it('a 410 response disables a webhook endpoint until an operator enables it', async () => {
    const endpoint = await subscribe()
    const group = await fixture.group([sender])
    receiver.answer = () => 410
    await start()
    await expect
      .poll(async () => (await listEndpoints(store.database))[0], patience)
      .toMatchObject({ enabled: false, disabledReason: 'answered 410' })
    expect(receiver.received).toHaveLength(1)
    expect(logged.some((line) => line.includes('endpoint was disabled'))).toBe(true)
    receiver.answer = () => 204
    expect(await setEndpointEnabled(store.database, endpoint, true)).toBe(true)
    await expect.poll(() => acceptedOf(group), patience).toEqual([1, 2])
  })

  it('disables a webhook endpoint that accepts nothing for a long time', async () => {
    await subscribe()
    await fixture.group([sender])
    receiver.answer = () => 302
    await start({ WEBHOOK_GIVE_UP_S: '1' })
    await fixture.sql(`update webhook_endpoints set failing_since = clock_timestamp() - interval '10 seconds'`)
    await expect
      .poll(async () => (await listEndpoints(store.database))[0]?.disabledReason, patience)
      .toMatch(/^accepted nothing for \d+ s$/)
  })

  it('signs webhooks with both secrets during a rotation', async () => {
    const next = `whsec_${Buffer.from('another thirty-two bytes, please').toString('base64')}`
    const other = await startReceiver(next)
    try {
      const endpoint = await subscribe()
      const second = await subscribe(other)
      await rotateSecret(store.database, endpoint, next)
      await rotateSecret(store.database, second, next)
      await start()
      const group = await fixture.group([sender])
      await expect.poll(() => [acceptedOf(group).length, acceptedOf(group, other).length], patience).toEqual([2, 2])
    } finally {
      await other.close()
    }
  })

  it('[OFF1] replays webhooks since a seq or a time with the same ids', async () => {
    const endpoint = await subscribe()
    await start()
    const group = await fixture.group([sender])
    for (let i = 0; i < 4; i++) await fixture.send(group, sender)
    await expect.poll(() => receiver.accepted().length, patience).toBe(6)
    const ids = receiver.received.map(({ id }) => id)
    const epoch = await store.database.epoch()
    expect(await replay(store.database, endpoint, { kind: 'seq', conversation: group, seq: 4 }, epoch)).toBe(3)
    await expect.poll(() => receiver.received.map(({ id }) => id), patience).toEqual([...ids, ...ids.slice(3)])
    // Moves the earlier changes back in time, because a JavaScript date has only milliseconds.
    await fixture.sql(`update changes set at = at - interval '1 second' where conversation = $1 and seq < 6`, [group])
    const [row] = await fixture.sql<{ at: string }>('select at from changes where conversation = $1 and seq = 6', [
      group,
    ])
    expect(await replay(store.database, endpoint, { kind: 'time', since: row!.at }, epoch)).toBe(1)
    await expect.poll(() => receiver.received.length, patience).toBe(10)
    expect(receiver.received.at(-1)!.id).toBe(ids.at(-1))
  })

  it('[OFF1] a page of webhooks stored twice after a lost response is delivered once', async () => {
    await subscribe()
    const group = await fixture.group([sender])
    const log = openConsumerLog(store.database, 'webhooks')
    const lease = await log.takeLease(10_000)
    await log.begin(lease!, 'here', undefined)
    const page = await log.readPage(lease!, 500)
    expect(page.rows.filter(({ conversation }) => conversation === group)).toHaveLength(2)
    const keep = () => storeWebhookPage(store.database, lease!, page, 'epoch')
    expect(await keep()).toEqual([{ endpoint: expect.any(String), conversation: group }])
    // Simulates a fast worker that has already delivered the page.
    await fixture.sql('delete from webhook_deliveries')
    await fixture.sql('delete from webhook_lanes')
    expect(await keep()).toEqual([])
    expect(await fixture.sql('select from webhook_deliveries')).toEqual([])
    await log.releaseLease(lease!)
    expect(await log.renewLease(lease!, 1_000)).toBe(true)
    await fixture.sql('update consumers set token = token + 1, holder = null, lease_until = null, history = null')
    expect(await keep()).toBeUndefined()
  })

  it('[OFF1] repeats webhook deliveries that a dead server had begun', async () => {
    await subscribe()
    let isDead = true
    receiver.answer = () => (isDead ? undefined : 200)
    const group = await fixture.group([sender])
    await start()
    await expect.poll(() => receiver.received.length, patience).toBeGreaterThan(0)
    await running.splice(0)[0]!.jobs.stop()
    // After a `kill -9` of the server, its claim on the lane remains until it expires.
    await fixture.sql(
      `update webhook_lanes set claim = gen_random_uuid(), claimed_until = clock_timestamp() + interval '1 second'`,
    )
    isDead = false
    await start()
    await expect.poll(() => acceptedOf(group), patience).toEqual([1, 2])
  })

  describe.runIf(engine === 'postgres' && hasRedis())('webhooks over Redis', () => {
    let server: RedisServer
    const links: Redis[] = []
    beforeAll(async () => {
      server = await startRedis()
    })
    afterAll(() => server.remove())
    afterEach(() => Promise.all(links.splice(0).map((link) => link.close())))

    async function startWithRedis(): Promise<Jobs> {
      const redis = await openRedis({
        url: server.url,
        variable: 'REDIS_URL',
        allowInsecure: false,
        logger,
        clock: systemClock,
      })
      links.push(redis)
      return start({ REDIS_URL: server.url }, redis, await store.openSecond())
    }

    it('[OFF1] webhooks deliver every change in order while Redis is emptied and killed', async () => {
      await subscribe()
      await startWithRedis()
      await startWithRedis()
      const groups = await Promise.all(Array.from({ length: 6 }, () => fixture.group([sender])))
      for (let i = 0; i < 120; i++) {
        await fixture.send(groups[i % 6]!, sender)
        if (i % 15 === 5 && (i < 60 || i > 80)) await server.command('FLUSHALL')
        if (i === 60) await server.kill9()
        if (i === 80) await server.start()
      }
      await expect.poll(() => new Set(receiver.accepted()).size, { timeout: 60_000, interval: 100 }).toBe(132)
      for (const group of groups) expect(acceptedOf(group)).toEqual(await fixture.seqs(group))
      expect(await fixture.sql('select from webhook_deliveries')).toEqual([])
    })
  })
})
