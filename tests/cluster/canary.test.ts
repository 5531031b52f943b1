/**
 * The canaries of three servers. A canary is a test user inside a server that sends messages to the
 * canaries of all servers. They receive each other's messages over both transports, and users
 * cannot see them.
 */
import { hasPostgres, hasRedis, hasBalancer, HttpUser, startCluster, waitForFact } from '@chorus/testkit'
import { expect, it } from 'vitest'

async function readMetrics(url: string): Promise<Map<string, number>> {
  const text = await (await fetch(url)).text()
  return new Map(
    text
      .split('\n')
      .filter((line) => line.startsWith('chorus_'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))] as const),
  )
}

it.skipIf(!hasPostgres() || !hasRedis() || !hasBalancer('haproxy'))(
  'canaries measure all pairs of servers, and users cannot see them',
  async () => {
    const cluster = await startCluster({ servers: 3, env: { CANARY: 'on', DRAIN_NOTICE_MS: '0', DRAIN_MS: '500' } })
    try {
      const names = cluster.servers.map(({ name }) => name)
      const heardAll = async (atLeast: number): Promise<boolean> => {
        for (const { metricsUrl } of cluster.servers) {
          const metrics = await readMetrics(metricsUrl)
          for (const from of names)
            for (const transport of ['websocket', 'sse']) {
              const received = metrics.get(`chorus_canary_received_total{from="${from}",transport="${transport}"}`) ?? 0
              if (received < atLeast) return false
            }
        }
        return true
      }
      await waitForFact(() => heardAll(2), { what: 'every pair heard', timeoutMs: 60_000, everyMs: 500 })
      expect(await cluster.stop(1)).toMatchObject({ code: 0 })
      await cluster.start(1)
      await waitForFact(() => heardAll(2), { what: 'every pair heard again', timeoutMs: 60_000, everyMs: 500 })
      for (const { metricsUrl } of cluster.servers) {
        const metrics = await readMetrics(metricsUrl)
        for (const [name, value] of metrics)
          if (/^chorus_canary_(lost|doubled|reordered)/.test(name)) expect([name, value]).toEqual([name, 0])
        const slow = [...metrics].filter(([name]) => /^chorus_canary_seconds_count/.test(name))
        expect(slow.length).toBe(names.length * 2)
      }

      const ada = await HttpUser.signUp(cluster.url)
      for (const q of ['canary', 'Canaries', ' canary', ' '])
        expect(JSON.stringify((await ada.call('GET', `/v1/users?q=${encodeURIComponent(q)}`)).body)).not.toMatch(
          /canar/i,
        )
      expect(JSON.stringify((await ada.call('GET', '/v1/channels?q=')).body)).not.toMatch(/canar/i)
      for (const name of names) {
        const stranger = HttpUser.stranger(cluster.url)
        const body = { handle: ` canary ${name}`, password: '!' }
        expect((await stranger.call('POST', '/v1/session', body)).status).toBeGreaterThanOrEqual(400)
      }
    } finally {
      await cluster.remove()
    }
  },
)
