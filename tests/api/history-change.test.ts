/**
 * The database epoch (the identity of one database history) changes under a running server, as
 * after a restored backup or a failover to a standby.
 */
import { randomUUID } from 'node:crypto'
import { hasPostgres, HttpUser, SocketUser, startServer, usePostgres, waitForFact } from '@chorus/testkit'
import { expect, it } from 'vitest'

it.runIf(hasPostgres())(
  '[RES2] a changed database epoch makes every client reload, and the server keeps working',
  async () => {
    const databases = await usePostgres()
    const databaseUrl = await databases.createDatabase()
    const server = await startServer({ databaseUrl })
    try {
      const ada = await HttpUser.signUp(() => server.url)
      const bob = await HttpUser.signUp(() => server.url)
      const conversation = await ada.createConversation('direct', [bob.id])
      const socket = await SocketUser.connect(server.url, { cookie: ada.cookie })
      await socket.command('send', { conversation, clientId: randomUUID(), text: 'before' })
      const { cursor, epoch } = socket.events.find(({ name }) => name === 'ready')?.payload as {
        cursor: string
        epoch: string
      }
      await databases.query(`update settings set value = gen_random_uuid() where key = 'epoch'`, [], databaseUrl)
      await databases.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
        [],
        databaseUrl,
      )
      await socket.waitFor(({ name }) => name === 'reset', 'reset')
      await waitForFact(() => socket.disconnections.length > 0, { what: 'the end of the connection' })

      const again = await waitForFact(() => SocketUser.connect(server.url, { cookie: ada.cookie, cursor }), {
        what: 'a new connection',
      })
      const ready = again.events.find(({ name }) => name === 'ready')?.payload
      expect(ready).toMatchObject({ resumed: false })
      expect((ready as { epoch: string }).epoch).not.toBe(epoch)
      expect(again.events.some(({ name }) => name === 'reset')).toBe(true)
      expect(await again.command('send', { conversation, clientId: randomUUID(), text: 'after' })).toMatchObject({
        ok: true,
      })
      // A checkpoint proves that the server follows the log in the new epoch: its cursor contains
      // the new epoch, and is accepted.
      const checkpoint = await again.waitFor(({ name }) => name === 'checkpoint', 'checkpoint')
      const sync = await ada.expect<{ epoch: string; reset?: boolean }>(
        200,
        'GET',
        `/v1/sync?cursor=${(checkpoint?.payload as { cursor: string }).cursor}`,
      )
      expect(sync.body).toMatchObject({ epoch: (ready as { epoch: string }).epoch })
      expect(sync.body.reset).toBeUndefined()
      await ada.expect(200, 'GET', '/readyz')
    } finally {
      await server.remove()
    }
  },
)
