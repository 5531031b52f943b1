/**
 * Runs a whole chat at the most verbose log level, then checks that neither the log nor a response
 * of the server contains a secret.
 */
import { randomUUID } from 'node:crypto'
import { HttpUser, SocketUser, SseClient, waitForFact } from '@chorus/testkit'
import { expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

it('the log output contains no cookie, password, cursor, token or message', async () => {
  const server = await startQuickServer({ env: { LOG_LEVEL: 'trace' } })
  try {
    const password = `secret-password-${randomUUID()}`
    const text = `secret-text-${randomUUID()}`
    const name = `Mallory ${randomUUID()}`
    const ada = await HttpUser.signUp(() => server.url, { password, name })
    const bob = await HttpUser.signUp(() => server.url, { password })
    const conversation = await ada.createConversation('direct', [bob.id])
    const secrets = [password, text, ada.cookie!.split('=')[1]!, bob.cookie!.split('=')[1]!]

    const socket = await SocketUser.connect(server.url, { cookie: ada.cookie })
    const stream = await SseClient.open(server.url, { cookie: bob.cookie })
    const { seq } = await ada.send(conversation, text)
    await socket.command('edit', { conversation, seq, text: `${text} edited` })
    await socket.command('react', { conversation, seq, emoji: '👍' })
    await socket.command('live', { conversation, key: 'location', value: { place: text }, ttlMs: 1_000 })
    await ada.expect(200, 'PATCH', '/v1/session/data', { draft: text })
    await socket.waitForSeq(conversation, seq)
    const ready = await stream.waitFor(({ name: event }) => event === 'ready', 'ready')
    secrets.push((ready.data as { cursor: string }).cursor)

    // Cause refusals as well, because code that reports errors often leaks secrets.
    await ada.call('POST', '/v1/session', { handle: ada.handle, password: `${password}x` })
    await ada.call('POST', '/v1/session', undefined, { rawBody: `{"password":"${password}"` })
    await ada.call('POST', `/v1/conversations/${conversation}/messages`, { clientId: 'x', text })
    await ada.call('GET', `/v1/sync?cursor=${text}`)
    await ada.call('GET', `/v1/session?token=${password}`)
    await ada.call('GET', `/v1/events?token=${password}`)
    await ada.call('GET', `/${password}`)
    await ada.call('PATCH', '/v1/users/me', { name: `${text}\r\nFORGED LINE` })
    await ada.call('GET', '/v1/session', undefined, { headers: { authorization: `Bearer ${password}` } })
    await HttpUser.stranger(server.url).call('GET', '/v1/session', undefined, {
      headers: { cookie: `chorus_session=${text}`, 'user-agent': 'x\ty' },
    })
    await expect(
      SocketUser.connect(server.url, { cookie: ada.cookie, client: { auth: { token: password } } }),
    ).rejects.toThrow(/token/)
    socket.socket.emit('send', { conversation, clientId: randomUUID(), text, extra: text })
    await ada.expect(204, 'DELETE', '/v1/session')
    stream.close()
    socket.close()
    await server.stop()

    expect(server.logs.lines.length).toBeGreaterThan(5)
    for (const secret of secrets) expect(server.logs.text).not.toContain(secret)
    expect(server.logs.text).not.toMatch(/FORGED LINE/)
    for (const line of server.logs.lines) {
      if (line.startsWith('listening on ')) continue
      expect(() => JSON.parse(line) as unknown, line).not.toThrow()
    }
  } finally {
    await server.remove()
  }
})

it('the server refuses tokens in URLs, and serves no internals or private files', async () => {
  const server = await startQuickServer()
  try {
    const ada = await HttpUser.signUp(() => server.url)
    const { cookie } = ada
    const value = cookie!.split('=')[1]!
    ada.cookie = undefined
    for (const query of [`token=${value}`, `chorus_session=${value}`, `sid=${value}`, `access_token=${value}`]) {
      for (const path of ['/v1/session', '/v1/sync', '/v1/events', '/v1/conversations']) {
        const answer = await ada.call('GET', `${path}?${query}`)
        expect([400, 401], `${path} ${query}`).toContain(answer.status)
      }
      await expect(
        SocketUser.connect(server.url, { client: { query: Object.fromEntries(new URLSearchParams(query)) } }),
      ).rejects.toThrow(/sign in|websocket error/)
    }
    ada.cookie = cookie
    for (const path of [
      '/metrics',
      '/debug',
      '/.git/config',
      '/.env',
      '/package.json',
      '/assets/../package.json',
      '/assets/..%2f..%2fpackage.json',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/assets/%00',
      '/v1',
      '/v1/',
      '/v1/unknown',
      '/socket.io/socket.io.js',
    ]) {
      const answer = await ada.call<unknown>('GET', path)
      expect(answer.status, path).toBeGreaterThanOrEqual(400)
      expect(answer.status, path).toBeLessThan(500)
      expect(JSON.stringify(answer.body), path).not.toMatch(/node_modules|\.ts:|\.js:\d|ENOENT|root:x/)
    }
    const page = await ada.call('GET', '/', undefined, { headers: { accept: 'text/html' } })
    expect(page.headers['referrer-policy']).toBe('no-referrer')
    expect(page.headers['content-security-policy']).toContain("script-src 'self'")
    expect(page.headers['x-content-type-options']).toBe('nosniff')
    const { headers } = await ada.expect(200, 'GET', '/v1/session')
    expect(headers['cache-control']).toBe('no-store')
    expect(headers['x-powered-by']).toBeUndefined()
    expect(headers.server).toBeUndefined()
  } finally {
    await server.remove()
  }
})

it('[ACL2] signing in never adopts a session id that the client chose', async () => {
  const server = await startQuickServer()
  try {
    const ada = await HttpUser.signUp(() => server.url)
    const visitor = HttpUser.stranger(server.url)
    visitor.cookie = 'chorus_session=chosen-by-somebody-else'
    const { headers } = await visitor.expect(200, 'POST', '/v1/session', { handle: ada.handle, password: ada.password })
    expect(String(headers['set-cookie'])).toMatch(/chorus_session=/)
    expect(visitor.cookie).not.toContain('chosen-by-somebody-else')
    const first = visitor.cookie
    await visitor.expect(200, 'POST', '/v1/session', { handle: ada.handle, password: ada.password })
    expect(visitor.cookie).not.toBe(first)
    await waitForFact(async () => (await visitor.call('GET', '/v1/session')).status === 200)
    expect(String(headers['set-cookie'])).toMatch(/HttpOnly/i)
    expect(String(headers['set-cookie'])).toMatch(/SameSite=Lax/i)
    expect(String(headers['set-cookie'])).toMatch(/Path=\//i)
  } finally {
    await server.remove()
  }
})
