/** Two servers and a Redis Cluster of three masters: slots move and masters die, and the chat goes on. */
import { randomUUID } from 'node:crypto'
import { hasBalancer, hasPostgres, hasRedis, HttpUser, SocketUser, startCluster, waitForFact } from '@chorus/testkit'
import type { Cluster, RedisCluster } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy')

let cluster: Cluster
let masters: RedisCluster
let conversation: string
let writer: SocketUser
let reader: SocketUser

beforeAll(async () => {
  if (!canRun) return
  cluster = await startCluster({ servers: 2, redisCluster: true, env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0' } })
  masters = cluster.redisCluster!
  const ada = await HttpUser.signUp(cluster.urls[0]!)
  const bob = await HttpUser.signUp(cluster.urls[0]!)
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

const metricOf = async (server: number, sample: string): Promise<number> => {
  const text = await (await fetch(cluster.servers[server]!.metricsUrl)).text()
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `))
  return Number(line?.slice(sample.length + 1) ?? 0)
}

/** Hints come through again: not everything is left to the sweep. */
async function waitForHints(): Promise<void> {
  await waitForFact(
    async () => {
      const before = await metricOf(1, 'chorus_bus_messages_total{direction="in"}')
      await sendAcross('does a hint come')
      return (await metricOf(1, 'chorus_bus_messages_total{direction="in"}')) > before
    },
    { what: 'a hint', timeoutMs: 30_000 },
  )
}

async function waitForHealth(isWhole: boolean): Promise<void> {
  for (const url of cluster.urls)
    await waitForFact(
      async () => {
        const { status, body } = await HttpUser.stranger(url).call<{ degraded: string[] }>('GET', '/readyz')
        return status === 200 && (body.degraded.length === 0) === isWhole
      },
      { what: isWhole ? 'a whole server' : 'a degraded server', timeoutMs: 30_000, everyMs: 100 },
    )
}

/** The master and the slot of this conversation's channel, as the nodes name it. */
async function findChannel(): Promise<{ name: string; slot: number }> {
  return waitForFact(
    async () => {
      for (const master of masters.masters) {
        const names = (await master.command('PUBSUB', 'SHARDCHANNELS', `*c:${conversation}`)) as string[]
        if (names[0] !== undefined) return { name: names[0], slot: await masters.slotOf(names[0]) }
      }
      return undefined
    },
    { what: 'the channel of the conversation' },
  )
}

/** Everything arrived once and in order, and nobody was disconnected. */
function expectUnharmed(): void {
  const seqs = reader.changesOf(conversation).map(({ seq }) => seq)
  expect(seqs).toEqual(seqs.map((_, index) => seqs[0]! + index))
  expect(writer.disconnections).toEqual([])
  expect(reader.disconnections).toEqual([])
}

describe.skipIf(!canRun)('over a Redis Cluster', () => {
  it('[TAIL1] the slot of a conversation moves to another master while it is written to', async () => {
    await waitForHealth(true)
    await waitForHints()
    const { slot } = await findChannel()
    const from = await masters.ownerOf(slot)
    const to = masters.masters.find((master) => master !== from)!
    let isMoving = true
    const writing = (async () => {
      while (isMoving) await sendAcross('while it moves')
    })()
    await masters.moveSlot(slot, from, to)
    isMoving = false
    await writing
    await waitForHints()
    await waitForHealth(true)
    expectUnharmed()
  })

  it('[TAIL1] the master of a conversation dies, and comes back empty', async () => {
    const { slot } = await findChannel()
    const master = await masters.ownerOf(slot)
    await master.kill9()
    await waitForHealth(false)
    await sendAcross('without its master')
    await master.start({ isEmpty: true })
    await waitForHints()
    await waitForHealth(true)
    expectUnharmed()
  })
})
