/**
 * Tests on both engines that cached newest pages equal read ones, are sent to members only, and are
 * read a limited number of times.
 */
import { type Id, PROTOCOL_VERSION } from '@chorus/protocol'
import { hasRedis, startRedis } from '@chorus/testkit'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { SharedCache } from '../redis/shared-cache.ts'
import type { Database } from '../database/database.ts'
import { LatestPageCache, latestPageLimits } from './latest-page-cache.ts'
import { MembershipProof } from './membership-proof.ts'
import { readMessagePage, readNewestPage } from '../log/read-messages.ts'
import { sharedPageLimits } from '../log/read-latest-pages.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

type RedisServer = Awaited<ReturnType<typeof startRedis>>

describe.each(testEngines)('the cache of newest pages on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let server: RedisServer | undefined
  let redis: Redis | undefined
  let statements: string[] = []
  let database: Database
  let users: Id[]
  let ada: Id
  let bob: Id
  let cleo: Id
  let group: Id
  let epoch = 'one'

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    database = new Proxy(store.database, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown
        if (typeof value !== 'function') return value
        if (key === 'query')
          return (statement: Parameters<Database['query']>[0]) => {
            statements.push(statement.name ?? '')
            return target.query(statement)
          }
        return (value as (...args: unknown[]) => unknown).bind(target)
      },
    })
    if (hasRedis()) {
      server = await startRedis()
      redis = await openRedis({
        url: server.url,
        variable: 'REDIS_URL',
        allowInsecure: false,
        logger: createLogger('silent', 'test'),
        clock: systemClock,
      })
    }
  })
  afterAll(async () => {
    await redis?.close()
    await server?.remove()
    await store.close()
  })
  beforeEach(async () => {
    users = await fixture.users(3)
    ;[ada, bob, cleo] = users as [Id, Id, Id]
    group = await fixture.group([ada, bob, cleo])
    statements = []
    epoch = 'one'
  })

  /** Opens the page cache of one server, and records the outcome of each read. */
  function open(secret = 'secret'): { pages: LatestPageCache; outcomes: string[] } {
    const outcomes: string[] = []
    const pages = new LatestPageCache({
      database,
      clock: systemClock,
      epoch: () => epoch,
      cache: redis === undefined ? undefined : new SharedCache({ redis, secret, clock: systemClock }),
      onRead: (outcome) => void outcomes.push(outcome),
    })
    return { pages, outcomes }
  }
  const proof = (user: Id, seq: number): MembershipProof => new MembershipProof(user, group, seq)
  const top = async (): Promise<number> => (await fixture.seqs(group)).length
  const react = (user: Id, target: number, emoji: string, isRemoval = false): Promise<unknown> =>
    fixture.apply({ op: isRemoval ? 'unreact' : 'react', conversation: group, actor: user, target, emoji })

  it('[ACL1] returns the same newest page from memory, Redis and a direct read', async () => {
    const here = open()
    const there = open()
    const step = fc.record({
      kind: fc.constantFrom('send', 'send', 'edit', 'delete', 'react', 'react', 'unreact'),
      user: fc.integer({ min: 0, max: 2 }),
      at: fc.double({ min: 0, max: 0.999, noNaN: true }),
      emoji: fc.constantFrom('👍', '🎉', '❤️'),
      limit: fc.integer({ min: 1, max: 50 }),
    })
    const sent: { seq: number; sender: Id }[] = []
    for (let index = 0; index < 47; index++) {
      const sender = users[index % 3] as Id
      sent.push({ seq: (await fixture.send(group, sender, `message ${index}`)).seq, sender })
    }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        for (const { kind, user: who, at, emoji } of steps) {
          const user = users[who] as Id
          const { seq: target, sender } = sent[Math.floor(at * sent.length)] as { seq: number; sender: Id }
          if (kind === 'send') sent.push({ seq: (await fixture.send(group, user, 'more')).seq, sender: user })
          else if (kind === 'edit')
            await fixture.apply({ op: 'edit', conversation: group, actor: sender, target, text: `edited ${at}` })
          else if (kind === 'delete') await fixture.apply({ op: 'delete', conversation: group, actor: sender, target })
          else await react(user, target, emoji, kind === 'unreact')
        }
        const seq = await top()
        for (const { pages } of [here, there]) {
          for (const user of users) {
            const expected = await readNewestPage(store.database, user, group)
            expect(await pages.at(proof(user, seq))).toEqual(expected)
            expect(await pages.newest(user, group)).toEqual(expected)
            const { limit } = steps[0] as { limit: number }
            expect(await pages.newestOf(user, group, limit)).toEqual(
              await readMessagePage(store.database, user, group, { kind: 'newest' }, limit),
            )
          }
        }
      }),
      { numRuns: 25 },
    )
    expect(here.outcomes).toContain('local')
    if (redis !== undefined) expect(there.outcomes).toContain('hit')
  })

  it('[ACL1] shows no cached page to removed members and no deleted text', async () => {
    const { pages } = open()
    const { seq } = await fixture.send(group, bob, 'a word to be erased')
    for (const user of [ada, bob]) expect((await pages.at(proof(user, seq)))?.messages).toHaveLength(1)
    await fixture.apply({ op: 'delete', conversation: group, actor: bob, target: seq })
    expect(JSON.stringify(await pages.newest(ada, group))).not.toContain('erased')
    await fixture.apply({ op: 'remove-member', conversation: group, actor: ada, user: bob })
    await fixture.send(group, ada, 'a secret')
    const after = await top()
    for (const user of [ada, cleo]) expect((await pages.at(proof(user, after)))?.messages).toHaveLength(2)
    expect(await pages.newest(bob, group)).toBeUndefined()
    expect(await pages.newestOf(bob, group, 10)).toBeUndefined()
    expect(await pages.newestOf(bob, group, 100)).toBeUndefined()
    // Bob's membership was read before his removal: he gets at most what he could see then.
    expect((await pages.at(proof(bob, seq)))?.seq ?? seq).toBe(seq)
  })

  it('[LIM2] reads a newest page once for a thousand clients', async () => {
    for (let index = 0; index < 60; index++) await fixture.send(group, bob, `${index}`)
    const seq = await top()
    const { pages, outcomes } = open()
    const shown = await Promise.all(Array.from({ length: 1_000 }, () => pages.at(proof(ada, seq))))
    expect(shown.every((page) => page?.messages.length === 50 && page.hasBefore)).toBe(true)
    expect(outcomes.filter((outcome) => outcome === 'read')).toHaveLength(1)
    expect(statements.length).toBeLessThanOrEqual(2)
    const asked = await Promise.all(Array.from({ length: 300 }, () => pages.newestOf(cleo, group, 20)))
    expect(asked.every((page) => page?.messages.length === 20)).toBe(true)
    expect(outcomes.filter((outcome) => outcome === 'read')).toHaveLength(1)
  })

  it('[LIM2] limits the page reads while messages arrive, for any number of clients', async () => {
    const { pages, outcomes } = open()
    const startedAt = performance.now()
    let isWriting = true
    const writing = (async () => {
      for (let index = 0; index < 60; index++) await fixture.send(group, bob, `${index}`)
      isWriting = false
    })()
    let shown = 0
    while (isWriting) {
      const seq = await top()
      await Promise.all(
        Array.from({ length: 50 }, async () => {
          const page = await pages.at(proof(ada, seq))
          expect(page?.seq).toBeGreaterThanOrEqual(seq)
          shown++
        }),
      )
    }
    await writing
    const windows = Math.ceil((performance.now() - startedAt) / latestPageLimits.windowMs) + 1
    expect(shown).toBeGreaterThan(50)
    // One more read in each window is allowed: its batch was requested before the window was full.
    expect(outcomes.filter((outcome) => outcome === 'read').length).toBeLessThanOrEqual(
      windows * (latestPageLimits.readsPerWindow + 1),
    )
  })

  it('[LIM1] reads a page separately for each user if it is too large to share', async () => {
    const { seq } = await fixture.send(group, bob, 'loved by many')
    await fixture.sql(
      `insert into reactions (conversation, target, user_id, emoji, seq) select $1, $2, gen_random_uuid(), '👍', $2 from generate_series(1, $3::int)`,
      [group, seq, sharedPageLimits.reactorsMax],
    )
    await react(ada, seq, '👍')
    const { pages } = open()
    for (const user of [ada, bob, ada]) {
      expect(await pages.at(proof(user, await top()))).toEqual(await readNewestPage(store.database, user, group))
    }
    const [message] = (await pages.newestOf(ada, group, 10))!.messages
    expect(message?.reactions).toEqual([{ emoji: '👍', count: sharedPageLimits.reactorsMax + 1, mine: true }])
    for (let index = 0; index < 20; index++) await fixture.send(group, bob, 'ü'.repeat(20_000))
    const large = await pages.at(proof(ada, await top()))
    expect(large).toEqual(await readNewestPage(store.database, ada, group))
    expect(Buffer.byteLength(JSON.stringify(large))).toBeLessThan(300_000)
  })

  it('[RES2] drops cached pages when the database epoch changes', async () => {
    const { pages, outcomes } = open()
    const { seq } = await fixture.send(group, bob, 'in this history')
    await pages.at(proof(ada, seq))
    await pages.at(proof(ada, seq))
    epoch = 'two'
    await pages.at(proof(ada, seq))
    expect(outcomes.filter((outcome) => outcome === 'read')).toHaveLength(2)
  })

  describe.skipIf(!hasRedis())('the cache of newest pages with Redis', () => {
    const keys = async (): Promise<string[]> =>
      (await redis!.command('', ['KEYS', `chorus:page:${PROTOCOL_VERSION}:${group}:*`])) as string[]

    it('[BUS1] refuses forged pages in Redis', async () => {
      const { seq } = await fixture.send(group, bob, 'the truth')
      const [here, forger] = [open(), open('another secret')]
      await here.pages.at(proof(ada, seq))
      await here.pages.at(proof(ada, seq))
      const [key] = await keys()
      const sealed = (await redis!.command(key!, ['GET', key!])) as string
      expect(sealed).toContain('the truth')
      await redis!.command(key!, ['DEL', key!])
      await forger.pages.at(proof(ada, seq))
      await forger.pages.at(proof(ada, seq))
      const forged = (await redis!.command(key!, ['GET', key!])) as string
      for (const value of [
        forged,
        sealed.replace('the truth', 'something'),
        sealed.slice(0, 100),
        '',
        'A'.repeat(500),
      ]) {
        await redis!.command(key!, ['SET', key!, value])
        const there = open()
        expect((await there.pages.at(proof(ada, seq)))?.messages.at(-1)?.text).toBe('the truth')
        expect(there.outcomes).toEqual(['refused', 'read'])
      }
      // Store a genuine page under the key of another seq.
      await redis!.command(key!, ['SET', key!, sealed])
      const next = await fixture.send(group, bob, 'the whole truth')
      const moved = `chorus:page:${PROTOCOL_VERSION}:${group}:${next.seq}`
      await redis!.command(moved, ['SET', moved, sealed])
      const there = open()
      expect((await there.pages.at(proof(ada, next.seq)))?.messages.at(-1)?.text).toBe('the whole truth')
      expect(there.outcomes).toEqual(['refused', 'read'])
    })

    it('stores a page in Redis only after a second request, and with an expiry', async () => {
      const { seq } = await fixture.send(group, bob, 'hello')
      const { pages } = open()
      await pages.at(proof(ada, seq))
      expect(await keys()).toEqual([])
      await pages.at(proof(cleo, seq))
      const [key] = await keys()
      expect(Number(await redis!.command(key!, ['PTTL', key!]))).toBeLessThanOrEqual(latestPageLimits.lifeMs)
      const there = open()
      statements = []
      await Promise.all(Array.from({ length: 20 }, () => there.pages.at(proof(ada, seq))))
      expect([statements, there.outcomes.filter((outcome) => outcome === 'hit')]).toEqual([[], ['hit']])
    })
  })
})
