/**
 * Two servers that publish to a Redis primary and subscribe at its replica, over network links that
 * the test can cut. Whatever fails between the servers and Redis, messages acknowledged at one
 * server arrive at the other, once and in order. The servers report whether they are degraded.
 */
import { hasBalancer, hasPostgres, hasRedis } from '@chorus/testkit'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { TwoEnds } from './two-ends.ts'

const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy')

let ends: TwoEnds

beforeAll(async () => {
  if (canRun) ends = await TwoEnds.open({ subscribeAtReplica: true, proxies: ['publish', 'subscribe', 'replication'] })
})

afterAll(() => ends?.close())

describe.skipIf(!canRun)('the links between the servers and Redis', () => {
  it('[TAIL1] messages arrive when the servers subscribe at a replica', async () => {
    await ends.waitForHealth(true)
    for (let count = 1; count <= 5; count += 1) await ends.sendAcross(`by the replica, ${count}`)
    ends.expectUnharmed()
  })

  it('[TAIL1] messages arrive while the publish or the subscribe link to Redis is down', async () => {
    for (const purpose of ['publish', 'subscribe'] as const) {
      for (const server of [0, 1]) ends.cluster.proxyOf(purpose, server).close()
      await ends.waitForHealth(false)
      await ends.sendAcross(`without a link to ${purpose}`)
      for (const server of [0, 1]) ends.cluster.proxyOf(purpose, server).open()
      await ends.waitForHealth(true)
      await ends.sendAcross(`with the link to ${purpose} again`)
    }
    ends.expectUnharmed()
  })

  it('[TAIL1] a replica cut off from its primary is noticed, and messages still arrive', async () => {
    ends.cluster.proxyOf('replication').close()
    await ends.waitForHealth(false)
    await ends.sendAcross('past a replica that hears nothing')
    ends.cluster.proxyOf('replication').open()
    await ends.cluster.replica!.waitForSync()
    await ends.waitForHealth(true)
    ends.expectUnharmed()
  })

  it('[TAIL1] messages arrive while the replica, and later the primary, is killed', async () => {
    const { redis, replica } = ends.cluster
    await replica!.kill9()
    await ends.waitForHealth(false)
    await ends.sendAcross('without the replica')
    await replica!.start()
    await replica!.waitForSync()
    await ends.waitForHealth(true)
    await redis.kill9()
    await ends.waitForHealth(false)
    await ends.sendAcross('without the primary')
    await redis.start({ isEmpty: true })
    await replica!.waitForSync()
    await ends.waitForHealth(true)
    await ends.sendAcross('with both again')
    ends.expectUnharmed()
  })

  it('[TAIL1] messages arrive while Redis fails over to the replica', async () => {
    await ends.sendAcross('before the failover')
    await ends.cluster.failOverRedis()
    await ends.sendAcross('while it fails over')
    await ends.waitForHealth(true)
    await ends.sendAcross('after the failover')
    ends.expectUnharmed()
  })
})
