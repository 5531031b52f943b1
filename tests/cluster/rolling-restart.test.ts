/**
 * All servers are restarted one after the other while users write, edit, react and search. The
 * application notices nothing: no request is refused, no message is lost or doubled, no client is
 * offline, and every server exits cleanly and in time.
 */
import { hasBalancer, hasPostgres, hasRedis, HttpUser, startCluster, waitForFact } from '@chorus/testkit'
import { expect, it } from 'vitest'
import { BusyUser } from './busy-user.ts'

const serverCount = 3
it.skipIf(!hasPostgres() || !hasRedis() || !hasBalancer('haproxy'))(
  '[CLI1] [ACK2] [IDEM1] [ORD2] a rolling restart under load goes unnoticed by the application',
  async () => {
    const cluster = await startCluster({
      servers: serverCount,
      env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', DRAIN_NOTICE_MS: '1500', DRAIN_MS: '4000' },
    })
    try {
      const users = await Promise.all(Array.from({ length: 6 }, () => HttpUser.signUp(cluster.url)))
      const [owner, ...others] = users
      if (owner === undefined) throw new Error('nobody signed up')
      const conversation = await owner.createConversation(
        'group',
        others.map(({ id }) => id),
      )
      const people = await Promise.all(
        users.map((user, index) =>
          BusyUser.enter(cluster.url, user, conversation, { transport: index % 3 === 2 ? 'sse' : 'socket-io' }),
        ),
      )
      const beganAt = people.map(({ noticed }) => noticed.length)
      let isGoing = true
      const lives = people.map((person) => person.live(() => isGoing))
      await waitForFact(() => people.every(({ acknowledged }) => acknowledged.size > 10), { what: 'a stream of sends' })

      for (const [index, server] of cluster.servers.entries()) {
        const startedAtMs = performance.now()
        expect(await cluster.stop(index)).toEqual({ code: 0, signal: null })
        expect(performance.now() - startedAtMs).toBeLessThan(15_000)
        const before = people.map(({ acknowledged }) => acknowledged.size)
        await cluster.start(index)
        await waitForFact(async () => (await fetch(`${server.url}/readyz`)).status === 200, { what: 'a ready server' })
        // Wait for more acknowledgements of every user while the restarted server comes back.
        await waitForFact(() => people.every(({ acknowledged }, who) => acknowledged.size > (before[who] ?? 0) + 5), {
          what: 'more sends',
        })
      }
      isGoing = false
      await Promise.all(lives)
      await waitForFact(() => people.every(({ waiting }) => waiting.length === 0), { what: 'empty outboxes' })

      const log = await owner.readLog(conversation)
      const top = log.at(-1)?.seq ?? 0
      expect(log.map(({ seq }) => seq)).toEqual(Array.from({ length: top }, (_, index) => index + 1))
      await waitForFact(() => people.every((person) => person.top === top), { what: 'everybody caught up' })

      const seqs = new Map<string, number>()
      for (const { seq, message, type } of log) {
        if (type !== 'message.created' || message === undefined) continue
        expect(seqs.has(message.clientId)).toBe(false)
        seqs.set(message.clientId, seq)
      }
      for (const [index, person] of people.entries()) {
        const { errors, acknowledged, order, noticed, states } = person
        expect(errors).toEqual([])
        expect(acknowledged.size).toBe(order.length)
        for (const [clientId, seq] of acknowledged) expect(seqs.get(clientId)).toBe(seq)
        const mine = order.map((clientId) => seqs.get(clientId) ?? 0)
        expect(mine).toEqual([...mine].sort((left, right) => left - right))
        // The user has received each change exactly once and in order, from the first one on.
        expect(noticed.length).toBeGreaterThan(beganAt[index] ?? 0)
        const [first = 0] = noticed
        expect(noticed).toEqual(Array.from({ length: top - first + 1 }, (_, offset) => first + offset))
        expect([...states].filter((state) => state !== 'ready' && state !== 'moving')).toEqual([])
      }
      await Promise.all(people.map((person) => person.leave()))
    } finally {
      await cluster.remove()
    }
  },
)
