/**
 * A server that cannot reach the database, while another server can, reports not ready, refuses
 * sends, and asks its clients to move to another server. If no server reaches the database, no
 * client is asked to move.
 */
import { randomUUID } from 'node:crypto'
import { hasBalancer, hasPostgres, hasRedis, HttpUser, SocketUser, startCluster, waitForFact } from '@chorus/testkit'
import { expect, it } from 'vitest'

it.skipIf(!hasPostgres() || !hasRedis() || !hasBalancer('haproxy'))(
  '[ACK2] a server without its database asks clients to move only if another server has one',
  async () => {
    const cluster = await startCluster({ servers: 2, proxies: ['database'] })
    try {
      const [first, second] = cluster.servers
      if (first === undefined || second === undefined) throw new Error('there are no two servers')
      const ada = await HttpUser.signUp(cluster.url)
      const bob = await HttpUser.signUp(cluster.url)
      const conversation = await ada.createConversation('direct', [bob.id])
      const here = await SocketUser.connect(first.url, { cookie: ada.cookie })
      const there = await SocketUser.connect(second.url, { cookie: bob.cookie })
      const hasMoved = (user: SocketUser) => user.events.some(({ name }) => name === 'moving')
      const isNotReady = async (url: string) => (await fetch(`${url}/readyz`)).status === 503

      // Cut off both servers from the database: moving would help no client. Wait longer than a
      // server waits before it asks its clients to move.
      cluster.proxyOf('database', 0).close()
      cluster.proxyOf('database', 1).close()
      await waitForFact(async () => (await isNotReady(first.url)) && (await isNotReady(second.url)), {
        what: 'not ready',
      })
      const answer = await here.command('send', { conversation, clientId: randomUUID(), text: 'to nobody' })
      expect(answer.ok).toBe(false)
      const untilMs = performance.now() + 12_000
      await waitForFact(() => performance.now() > untilMs || hasMoved(here) || hasMoved(there), {
        what: 'time to pass',
        timeoutMs: 20_000,
      })
      expect([hasMoved(here), hasMoved(there)]).toEqual([false, false])
      expect(here.socket.connected && there.socket.connected).toBe(true)

      // The second server reaches the database again, so the clients of the first one are asked to
      // move.
      cluster.proxyOf('database', 1).open()
      await here.waitFor(({ name }) => name === 'moving', 'moving')
      expect(hasMoved(there)).toBe(false)
      expect(here.socket.connected).toBe(true)
      const moved = await SocketUser.connect(cluster.url, { cookie: ada.cookie })
      const stored = await moved.command('send', { conversation, clientId: randomUUID(), text: 'to bob' })
      expect(stored.ok).toBe(true)
      await there.waitFor(({ name }) => name === 'changes', 'the message')

      // The first server reaches the database again, and accepts sends of the client that stayed.
      cluster.proxyOf('database', 0).open()
      await waitForFact(async () => !(await isNotReady(first.url)), { what: 'ready again' })
      const again = await here.command('send', { conversation, clientId: randomUUID(), text: 'I stayed' })
      expect(again.ok).toBe(true)
    } finally {
      await cluster.remove()
    }
  },
)
