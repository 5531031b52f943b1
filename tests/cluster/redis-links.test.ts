/**
 * Two servers, the subscription at a replica, and links that can be cut: whatever happens between the servers and Redis,
 * what one server acknowledges arrives at the other, once and in order, and the servers say how they are.
 */
import { randomUUID } from 'node:crypto'
import { hasBalancer, hasPostgres, hasRedis, HttpUser, SocketUser, startCluster, waitForFact } from '@chorus/testkit'
import type { Cluster } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy')

let cluster: Cluster
let ada: HttpUser
let bob: HttpUser
let conversation: string
let writer: SocketUser
let reader: SocketUser

beforeAll(async () => {
  if (!canRun) return
  cluster = await startCluster({
    servers: 2,
    subscribeAtReplica: true,
    proxies: ['publish', 'subscribe', 'replication'],
    env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0' },
  })
  ada = await HttpUser.signUp(cluster.url)
  bob = await HttpUser.signUp(cluster.url)
  conversation = await ada.createConversation('direct', [bob.id])
  writer = await SocketUser.connect(cluster.urls[0]!, { cookie: ada.cookie })
  reader = await SocketUser.connect(cluster.urls[1]!, { cookie: bob.cookie })
})

afterAll(async () => {
  writer?.close()
  reader?.close()
  await cluster?.remove()
})

async function sendAcross(text: string): Promise<void> {
  const answer = await writer.command('send', { conversation, clientId: randomUUID(), text })
  expect(answer.ok).toBe(true)
  await reader.waitForSeq(conversation, answer.seq as number)
}

async function waitForHealth(isWhole: boolean): Promise<void> {
  for (const url of cluster.urls) {
    await waitForFact(
      async () => {
        const { status, body } = await HttpUser.stranger(url).call<{ degraded: string[] }>('GET', '/readyz')
        // Without Redis a server serves on: ready, but degraded.
        return status === 200 && (body.degraded.length === 0) === isWhole
      },
      {
        what: isWhole ? 'a server that is whole' : 'a server that says it is degraded',
        timeoutMs: 30_000,
        everyMs: 100,
      },
    )
  }
}

/** Everything arrived once and in order, and nobody was disconnected. */
function expectUnharmed(): void {
  const seqs = reader.changesOf(conversation).map(({ seq }) => seq)
  expect(seqs).toEqual(seqs.map((_, index) => seqs[0]! + index))
  expect(writer.disconnections).toEqual([])
  expect(reader.disconnections).toEqual([])
}

describe.skipIf(!canRun)('between the servers and Redis', () => {
  it('[TAIL1] the subscription may be at a replica', async () => {
    await waitForHealth(true)
    for (let count = 1; count <= 5; count += 1) await sendAcross(`by the replica, ${count}`)
    expectUnharmed()
  })

  it('[TAIL1] without the link to publish or to subscribe, everything still arrives', async () => {
    for (const purpose of ['publish', 'subscribe'] as const) {
      for (const server of [0, 1]) cluster.proxyOf(purpose, server).close()
      await waitForHealth(false)
      await sendAcross(`without a link to ${purpose}`)
      for (const server of [0, 1]) cluster.proxyOf(purpose, server).open()
      await waitForHealth(true)
      await sendAcross(`with the link to ${purpose} again`)
    }
    expectUnharmed()
  })

  it('[TAIL1] a replica that gets nothing from its primary is noticed, and what it withholds arrives', async () => {
    cluster.proxyOf('replication').close()
    await waitForHealth(false)
    await sendAcross('past a replica that hears nothing')
    cluster.proxyOf('replication').open()
    await cluster.replica!.waitForSync()
    await waitForHealth(true)
    expectUnharmed()
  })

  it('[TAIL1] Redis fails over to the replica', async () => {
    await sendAcross('before the failover')
    await cluster.failOverRedis()
    await sendAcross('while it fails over')
    await waitForHealth(true)
    await sendAcross('after the failover')
    expectUnharmed()
  })
})
