/**
 * A server that alone has lost the database reports not ready, refuses sends, and asks its clients
 * to move. If all servers have lost the database, all clients stay.
 */
import { randomUUID } from 'node:crypto'
import { hasBalancer, hasPostgres, hasRedis, HttpUser, SocketUser, startCluster, waitForFact } from '@chorus/testkit'
import { expect, it } from 'vitest'

it.skipIf(!hasPostgres() || !hasRedis() || !hasBalancer('haproxy'))(
  '[ACK2] a server cut off from Postgres moves clients only if another server reaches it',
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

      // Cut off both servers: moving would help no client. Wait longer than the patience of any
      // server.
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

      // One server reaches the database again.
      cluster.proxyOf('database', 1).open()
      await here.waitFor(({ name }) => name === 'moving', 'moving')
      expect(hasMoved(there)).toBe(false)
      expect(here.socket.connected).toBe(true)
      const moved = await SocketUser.connect(cluster.url, { cookie: ada.cookie })
      const stored = await moved.command('send', { conversation, clientId: randomUUID(), text: 'to bob' })
      expect(stored.ok).toBe(true)
      await there.waitFor(({ name }) => name === 'changes', 'the message')

      // The other server reaches the database again, and accepts sends.
      cluster.proxyOf('database', 0).open()
      await waitForFact(async () => !(await isNotReady(first.url)), { what: 'ready again' })
      const again = await here.command('send', { conversation, clientId: randomUUID(), text: 'I stayed' })
      expect(again.ok).toBe(true)
    } finally {
      await cluster.remove()
    }
  },
)
