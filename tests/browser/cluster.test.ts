/**
 * Two people chat in two browsers, connected to different servers, while servers and Redis are
 * killed.
 */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Cluster,
  hasBalancer,
  hasPostgres,
  hasRedis,
  startChromium,
  startCluster,
  waitForFact,
} from '@chorus/testkit'
import { Person } from './person.ts'

describe.skipIf(!hasPostgres() || !hasRedis() || !hasBalancer('haproxy'))('browsers connected to a cluster', () => {
  let browser: Browser
  let cluster: Cluster

  beforeAll(async () => {
    browser = await startChromium()
    cluster = await startCluster({ servers: 3, subscribeAtReplica: true, proxies: ['publish', 'subscribe'] })
  })

  afterAll(async () => {
    await browser.close()
    await cluster.remove()
  })

  it('[CLI1] [TAIL1] the chat continues while servers and Redis are killed', async () => {
    // The balancer chooses Ada's server. Bob connects to the second server directly.
    const bobsServer = 1
    // The window is tall enough to show all messages without scrolling.
    const options = { viewport: { width: 1_280, height: 2_400 } }
    const ada = await Person.signUp(browser, cluster.url, 'Ada Lovelace', options)
    const bob = await Person.signUp(browser, cluster.urls[bobsServer] ?? '', 'Bob Builder', options)
    await ada.begin([bob])
    await bob.open('Ada Lovelace')
    const sent: string[] = []
    const talk = async (what: string): Promise<void> => {
      for (const [from, to, text] of [
        [ada, bob, `ada ${what}`],
        [bob, ada, `bob ${what}`],
      ] as const) {
        await from.write(text)
        await to.sees(text)
        sent.push(text)
      }
    }
    await talk('says hello')

    // Kill the two servers that Bob does not use, one after the other. If Ada is connected to one
    // of them, her browser must reconnect unnoticed.
    for (const server of [0, 2]) {
      await ada.composer.pressSequentially('half a sent')
      await cluster.kill9(server)
      await ada.composer.pressSequentially(`ence about ${server}`)
      await ada.composer.press('Enter')
      await bob.sees(`half a sentence about ${server}`)
      sent.push(`half a sentence about ${server}`)
      await talk(`lives without server ${server}`)
      await cluster.start(server)
    }

    await cluster.redis.kill9()
    await talk('has no Redis')
    await cluster.redis.start({ isEmpty: true })
    await cluster.replica?.waitForSync()
    await talk('has an empty one')
    await cluster.failOverRedis()
    await talk('has another one')

    // Both browsers show every message exactly once, in the same order.
    for (const person of [ada, bob]) {
      await waitForFact(async () => (await person.texts()).length >= sent.length, { what: 'every message' })
      expect(await person.texts()).toEqual(sent)
    }
    ada.expectNoSurprises()
    bob.expectNoSurprises()
    await Promise.all([ada.leave(), bob.leave()])
  })
})
