/**
 * The command `npm run trace` reports how one message reached one user, and never shows the text of
 * the message.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { hasBalancer, hasPostgres, hasRedis, HttpUser, SocketUser, startCluster } from '@chorus/testkit'
import { expect, it } from 'vitest'

const script = fileURLToPath(new URL('../../scripts/trace.mjs', import.meta.url))

function trace(...words: readonly string[]): Promise<{ readonly status: number; readonly lines: readonly string[] }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...words], (error, stdout, stderr) =>
      resolve({ status: Number(error?.code ?? 0), lines: `${stdout}${stderr}`.trim().split('\n') }),
    )
  })
}

it.skipIf(!hasPostgres() || !hasRedis() || !hasBalancer('haproxy'))(
  "npm run trace follows a message to a user's connections, without its text",
  async () => {
    const cluster = await startCluster({ servers: 2 })
    try {
      const [first, second] = cluster.servers
      if (first === undefined || second === undefined) throw new Error('there are no two servers')
      const at = ['--at', [first, second].map(({ metricsUrl }) => new URL(metricsUrl).origin).join(',')]
      const [ada, bob, eve] = await Promise.all([1, 2, 3].map(() => HttpUser.signUp(cluster.url)))
      if (ada === undefined || bob === undefined || eve === undefined) throw new Error('nobody signed up')
      const conversation = await ada.createConversation('group', [bob.id])
      const here = await SocketUser.connect(first.url, { cookie: ada.cookie })
      const there = await SocketUser.connect(second.url, { cookie: bob.cookie })
      const secret = 'nobody but bob may read this'
      const { seq } = await here.command('send', { conversation, clientId: randomUUID(), text: secret })
      await there.waitForSeq(conversation, seq as number)

      const sent = await trace(...at, conversation, String(seq), bob.handle)
      expect(sent.status).toBe(0)
      const text = sent.lines.join('\n')
      expect(text).not.toContain(secret)
      for (const pattern of [
        new RegExp(`^committed +\\d{4}-.*message.created by ${ada.id}, xid \\d+$`, 'm'),
        /^read +not yet: read up to \d$/m,
        /^server-1 +\S+ published it to the other servers$/m,
        /^server-1 +\S+ handed it to 1 connections$/m,
        /^server-2 +\S+ (received it from another server|found it in the database.*)$/m,
        /^server-2 +\S+ handed it to 1 connections$/m,
        /^ +websocket since \S+, ready: written to it, cursor/m,
      ])
        expect(text).toMatch(pattern)

      await there.command('read', { conversation, seq })
      expect((await trace(...at, conversation, String(seq), bob.id)).lines.join('\n')).toMatch(
        /^read +yes: read up to/m,
      )

      // Trace for a non-member, for a change that does not exist, and for an unknown user.
      const strange = (await trace(...at, conversation, String(seq), eve.handle)).lines.join('\n')
      expect(strange).toMatch(/was never a member and may not see the change/)
      expect((await trace(...at, conversation, '999', bob.handle)).lines.join('\n')).toMatch(
        /not yet: the newest change is/,
      )
      expect((await trace(...at, conversation, '1', 'nobody')).lines.join('\n')).toMatch(/there is no such user/)
      expect((await trace('one', 'two')).status).toBe(2)

      // A killed server is reported as not answering. The database still has the message.
      await cluster.kill9(0)
      const later = (await trace(...at, conversation, String(seq), bob.handle)).lines.join('\n')
      expect(later).toMatch(/does not answer \(ECONNREFUSED\)/)
      expect(later).toMatch(/^committed +\d{4}-/m)

      // A server offers the trace only on the port of its metrics.
      expect((await fetch(`${second.url}/trace?conversation=${conversation}&seq=1&user=x`)).status).toBe(404)
      expect((await fetch(`${new URL(second.metricsUrl).origin}/trace?conversation=x`)).status).toBe(400)
    } finally {
      await cluster.remove()
    }
  },
)
