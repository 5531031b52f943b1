/**
 * A server that is frozen while the other servers work. When it continues, its knowledge is
 * outdated. It must deliver nothing before its next sweep of the database: this finds the members
 * that were removed and the sessions that were revoked while it was frozen.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { hasBalancer, hasPostgres, hasRedis, HttpUser, SocketUser, startCluster, waitForFact } from '@chorus/testkit'
import type { Cluster } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy')
/**
 * Duration of the freeze. It is longer than the pause after which a server notices that it was
 * frozen.
 */
const frozenMs = 2_500

const hintsReceived = 'chorus_bus_messages_total{direction="in"}'

let cluster: Cluster

beforeAll(async () => {
  if (!canRun) return
  cluster = await startCluster({
    servers: 2,
    proxies: ['database', 'subscribe'],
    env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0' },
  })
})
afterAll(() => cluster?.remove())

const metricOf = async (server: number, sample: string): Promise<number> => {
  const text = await (await fetch(cluster.servers[server]!.metricsUrl)).text()
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `))
  return Number(line?.slice(sample.length + 1) ?? 0)
}

describe.skipIf(!canRun)('a server that was frozen', () => {
  it('[ACL1] [ACL2] [TAIL1] a resumed server delivers nothing to removed members and revoked sessions', async () => {
    const ada = await HttpUser.signUp(cluster.urls[0]!)
    const [removed, signedOut, member] = await Promise.all([
      HttpUser.signUp(cluster.urls[0]!),
      HttpUser.signUp(cluster.urls[0]!),
      HttpUser.signUp(cluster.urls[0]!),
    ])
    const conversation = await ada.createConversation('group', [removed.id, signedOut.id, member.id])
    const writer = await SocketUser.connect(cluster.urls[0]!, { cookie: ada.cookie })
    const [ofRemoved, ofSignedOut, ofMember] = await Promise.all(
      [removed, signedOut, member].map(({ cookie }) => SocketUser.connect(cluster.urls[1]!, { cookie })),
    )
    const seqsOf = (user: SocketUser): number[] => user.changesOf(conversation).map(({ seq }) => seq)
    const send = async (text: string): Promise<number> => {
      const answer = await writer.command('send', { conversation, clientId: randomUUID(), text })
      expect(answer.ok).toBe(true)
      return answer.seq as number
    }
    try {
      const before = await send('before')
      for (const user of [ofRemoved!, ofSignedOut!, ofMember!]) await user.waitForSeq(conversation, before)
      const stallsBefore = await metricOf(1, 'chorus_stalls_total')
      const hintsBefore = await metricOf(1, hintsReceived)

      cluster.pause(1)
      // Cut the server off from the database, so that after the freeze it reads the waiting hints
      // from Redis before any response of the database.
      cluster.proxyOf('database', 1).close()
      const removal = before + 1
      let last: number
      try {
        const frozenAt = performance.now()
        await ada.expect(204, 'DELETE', `/v1/conversations/${conversation}/members/${removed.id}`)
        // Revoke the session only in the database, as if the hint over Redis was lost: only the
        // sweep can find it.
        await cluster.postgres.query(
          'update sessions set revoked_at = now(), xid = pg_current_xact_id() where user_id = $1',
          [signedOut.id],
          cluster.databaseUrl,
        )
        for (let count = 1; count <= 20; count++) await send(`meanwhile ${count}`)
        last = await send('the last one meanwhile')
        await pause(Math.max(0, frozenMs - (performance.now() - frozenAt)))
      } finally {
        cluster.resume(1)
      }

      // The server runs again and has read the waiting hints, but cannot sweep without its
      // database. The number of hints is unknown, because a server joins changes into one message.
      // The few kilobytes arrive in one read, so one received hint proves that all were read.
      await waitForFact(
        async () =>
          (await metricOf(1, 'chorus_stalls_total')) > stallsBefore && (await metricOf(1, hintsReceived)) > hintsBefore,
        { what: 'a server that is awake and has read what waited for it' },
      )
      for (const user of [ofRemoved!, ofSignedOut!, ofMember!]) expect(seqsOf(user).at(-1)).toBe(before)
      cluster.proxyOf('database', 1).open()

      await ofMember!.waitForSeq(conversation, last, 20_000)
      // A barrier: this message is delivered after all earlier ones.
      await ofMember!.waitForSeq(conversation, await send('afterwards'))
      await waitForFact(() => ofSignedOut!.disconnections.length > 0, { what: 'the end of the connection signed out' })
      await waitForFact(() => ofRemoved!.changesOf(conversation).at(-1)?.seq === removal, { what: 'the removal' })

      expect(seqsOf(ofRemoved!).filter((seq) => seq > removal)).toEqual([])
      expect(seqsOf(ofSignedOut!).filter((seq) => seq > before)).toEqual([])
      const received = seqsOf(ofMember!)
      expect(received).toEqual(received.map((_, index) => received[0]! + index))
      expect(ofMember!.disconnections).toEqual([])
    } finally {
      for (const user of [writer, ofRemoved, ofSignedOut, ofMember]) user?.close()
    }
  })

  it('[TAIL1] [CP1] a member who was removed and added while all hints were lost still receives', async () => {
    const ada = await HttpUser.signUp(cluster.urls[0]!)
    const follower = await HttpUser.signUp(cluster.urls[0]!)
    const conversation = await ada.createConversation('group', [follower.id])
    const writer = await SocketUser.connect(cluster.urls[0]!, { cookie: ada.cookie })
    const following = await SocketUser.connect(cluster.urls[1]!, { cookie: follower.cookie })
    const send = async (text: string): Promise<number> => {
      const answer = await writer.command('send', { conversation, clientId: randomUUID(), text })
      expect(answer.ok).toBe(true)
      return answer.seq as number
    }
    try {
      const before = await send('before')
      await following.waitForSeq(conversation, before)

      // The server is frozen, and its connections to Redis are cut, so it will find no hints when
      // it continues.
      cluster.pause(1)
      cluster.proxyOf('subscribe', 1).close()
      const removal = before + 1
      let added: number
      try {
        await ada.expect(204, 'DELETE', `/v1/conversations/${conversation}/members/${follower.id}`)
        for (let count = 1; count <= 600; count += 50)
          await Promise.all(Array.from({ length: 50 }, (_, index) => send(`a secret ${count + index}`)))
        await ada.expect(200, 'PUT', `/v1/conversations/${conversation}/members/${follower.id}`, {})
        added = removal + 601
      } finally {
        cluster.resume(1)
      }
      cluster.proxyOf('subscribe', 1).open()

      await waitForFact(
        () =>
          following.events.some(
            ({ name, payload }) =>
              name === 'conversation' &&
              (payload as { conversation: string }).conversation === conversation &&
              (payload as { limited?: boolean; seq: number }).limited === true &&
              (payload as { seq: number }).seq >= added,
          ),
        { what: 'the page of who is a member again', timeoutMs: 20_000 },
      )
      const seq = await send('welcome back')
      await following.waitForSeq(conversation, seq, 20_000)
      const left = following.events.filter(
        ({ name, payload }) => name === 'conversation' && (payload as { left?: boolean }).left === true,
      )
      expect(left.map(({ payload }) => (payload as { seq: number }).seq)).toEqual([removal])
      const seqs = following.changesOf(conversation).map((change) => change.seq)
      expect(seqs.filter((seen) => seen > removal && seen < added)).toEqual([])
      expect(new Set(seqs).size).toBe(seqs.length)
      expect(following.disconnections).toEqual([])
    } finally {
      writer.close()
      following.close()
    }
  })
})
