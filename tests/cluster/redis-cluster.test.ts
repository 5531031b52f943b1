/**
 * Two servers with a Redis Cluster of three masters. Messages still arrive while slots move between
 * masters, and while masters die.
 */
import { hasBalancer, hasPostgres, hasRedis, waitForFact } from '@chorus/testkit'
import type { RedisCluster } from '@chorus/testkit'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { TwoEnds } from './two-ends.ts'

const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy')

let ends: TwoEnds
let masters: RedisCluster

beforeAll(async () => {
  if (!canRun) return
  ends = await TwoEnds.open({ redisCluster: true })
  masters = ends.cluster.redisCluster!
})

afterAll(() => ends?.close())

const metricOf = async (server: number, sample: string): Promise<number> => {
  const text = await (await fetch(ends.cluster.servers[server]!.metricsUrl)).text()
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `))
  return Number(line?.slice(sample.length + 1) ?? 0)
}

/**
 * Waits until hints over Redis arrive again. Otherwise only the sweep of the database would deliver
 * the messages.
 */
async function waitForHints(): Promise<void> {
  await waitForFact(
    async () => {
      const before = await metricOf(1, 'chorus_bus_messages_total{direction="in"}')
      await ends.sendAcross('does a hint come')
      return (await metricOf(1, 'chorus_bus_messages_total{direction="in"}')) > before
    },
    { what: 'a hint', timeoutMs: 30_000 },
  )
}

/**
 * Returns the name and the slot of the conversation's channel, as the Redis Cluster reports them.
 */
async function findChannel(): Promise<{ name: string; slot: number }> {
  return waitForFact(
    async () => {
      for (const master of masters.masters) {
        const names = (await master.command('PUBSUB', 'SHARDCHANNELS', `*c:${ends.conversation}`)) as string[]
        if (names[0] !== undefined) return { name: names[0], slot: await masters.slotOf(names[0]) }
      }
      return undefined
    },
    { what: 'the channel of the conversation' },
  )
}

describe.skipIf(!canRun)('two servers over a Redis Cluster', () => {
  it('[TAIL1] messages arrive while the slot of a conversation moves to another master', async () => {
    await ends.waitForHealth(true)
    await waitForHints()
    const { slot } = await findChannel()
    const from = await masters.ownerOf(slot)
    const to = masters.masters.find((master) => master !== from)!
    let isMoving = true
    const writing = (async () => {
      while (isMoving) await ends.sendAcross('while it moves')
    })()
    await masters.moveSlot(slot, from, to)
    isMoving = false
    await writing
    await waitForHints()
    await ends.waitForHealth(true)
    ends.expectUnharmed()
  })

  it('[TAIL1] messages arrive while the master of a conversation dies and returns empty', async () => {
    const { slot } = await findChannel()
    const master = await masters.ownerOf(slot)
    await master.kill9()
    await ends.waitForHealth(false)
    await ends.sendAcross('without its master')
    await master.start({ isEmpty: true })
    await waitForHints()
    await ends.waitForHealth(true)
    ends.expectUnharmed()
  })
})
