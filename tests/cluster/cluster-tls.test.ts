/**
 * A cluster with TLS. Clients reach the balancer by HTTPS, through the TLS lines of the
 * configuration that ships in deploy/. The servers reach Redis by TLS.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hasBalancer, hasPostgres, hasRedis, startCluster } from '@chorus/testkit'
import { describe, expect, it, onTestFinished } from 'vitest'

const client = fileURLToPath(new URL('./tls-client.mjs', import.meta.url))

interface Received {
  readonly setCookie: string
  readonly security: string | null
  readonly received: Readonly<Record<string, string>>
}

describe.runIf(hasPostgres() && hasRedis())('a cluster with TLS', () => {
  it.each(['haproxy', 'nginx'] as const)(
    'WebSockets, polling and event streams work with TLS through %s',
    async (balancer) => {
      if (!hasBalancer(balancer)) return
      const cluster = await startCluster({ servers: 2, balancer, tls: true, subscribeAtReplica: true })
      onTestFinished(() => cluster.remove())
      expect(cluster.url).toMatch(/^https:/)
      expect(cluster.redis.url).toMatch(/^rediss:/)
      const { stdout } = await promisify(execFile)(process.execPath, [client, cluster.url], {
        env: { PATH: process.env.PATH, NODE_EXTRA_CA_CERTS: cluster.caFile },
        timeout: 90_000,
      })
      const { setCookie, security, received } = JSON.parse(stdout) as Received
      expect(received).toEqual({ websocket: 'over websocket', polling: 'over polling', events: 'over events' })
      expect(setCookie).toMatch(/^__Host-chorus_session=[^;]+;(?=.* Secure)(?=.* HttpOnly)(?=.* Path=\/)/)
      expect(security).toBe('max-age=31536000')
      for (const { url } of cluster.servers) {
        const readiness = (await (await fetch(`${url}/readyz`)).json()) as { readonly degraded: readonly string[] }
        expect(readiness.degraded).toEqual([])
      }
    },
  )
})
