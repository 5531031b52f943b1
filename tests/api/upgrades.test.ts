/**
 * Requests with an Upgrade header for a protocol that the server does not support. The server
 * ignores the header and answers in HTTP/1.1 (RFC 9110, section 7.8).
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { HttpUser, RawSocket, SocketUser, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

const run = promisify(execFile)

let server: ServerProcess
let ada: HttpUser

beforeAll(async () => {
  server = await startQuickServer()
  ada = await HttpUser.signUp(() => server.url)
})

afterAll(async () => {
  await server.remove()
})

async function has(program: string, ...args: string[]): Promise<boolean> {
  return run(program, args).then(
    () => true,
    () => false,
  )
}

/**
 * Sends an HTTP/1.1 request with these headers. Returns the status and the whole text of the first
 * response.
 */
async function ask(line: string, headers: readonly string[], body = ''): Promise<{ status: number; text: string }> {
  const socket = await RawSocket.connect(server.port)
  socket.send([`${line} HTTP/1.1`, `Host: 127.0.0.1:${server.port}`, ...headers, '', body].join('\r\n'))
  const status = await socket.waitForStatus()
  await waitForFact(() => /\r\n\r\n[^]/.test(socket.text) || socket.text.endsWith('\r\n\r\n'), { what: 'a body' })
  socket.close()
  return { status, text: socket.text }
}

const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA']

describe('a request with an unsupported Upgrade header', () => {
  it.each([
    ['h2c', 'GET /livez', h2c, 200],
    ['an unknown protocol', 'GET /livez', ['Connection: upgrade', 'Upgrade: foo/2'], 200],
    ['several protocols', 'GET /livez', ['Connection: Upgrade', 'Upgrade: h2c, websocket'], 200],
    ['TLS', 'OPTIONS /livez', ['Connection: Upgrade', 'Upgrade: TLS/1.0'], 204],
    ['a WebSocket elsewhere', 'GET /livez', ['Connection: Upgrade', 'Upgrade: websocket'], 200],
    ['a WebSocket at no address', 'GET /v1/nothing', ['Connection: Upgrade', 'Upgrade: WebSocket'], 404],
    ['h2c at the address of WebSockets', 'GET /socket.io/?EIO=4&transport=polling', h2c, 200],
    ['h2c without a session', 'GET /v1/session', h2c, 401],
  ])('the server ignores an upgrade to %s, and answers in HTTP/1.1', async (_what, line, headers, expected) => {
    const { status, text } = await ask(line, headers)
    expect(status).toBe(expected)
    expect(text).not.toMatch(/^upgrade:/im)
  })

  it('a request with an unsupported Upgrade keeps its body and its cookie', async () => {
    const body = JSON.stringify({ theme: 'dark', long: 'x'.repeat(7_000) })
    const headers = [...h2c, `Cookie: ${ada.cookie}`, 'Content-Type: application/json']
    const { status, text } = await ask(
      'PATCH /v1/session/data',
      [...headers, `Content-Length: ${Buffer.byteLength(body)}`],
      body,
    )
    expect([status, text.includes('"theme":"dark"')]).toEqual([200, true])
  })

  it('a request with an unsupported Upgrade may send its body late and in chunks', async () => {
    const socket = await RawSocket.connect(server.port)
    const headers = [
      `Host: 127.0.0.1:${server.port}`,
      `Cookie: ${ada.cookie}`,
      'Content-Type: application/json',
      ...h2c,
    ]
    for (let round = 1; round <= 3; round++) {
      socket.send(['PATCH /v1/session/data HTTP/1.1', ...headers, 'Transfer-Encoding: chunked', '', ''].join('\r\n'))
      await new Promise((resolve) => setImmediate(resolve))
      for (const piece of ['{"round"', `:${round}}`]) {
        socket.send(`${piece.length.toString(16)}\r\n${piece}\r\n`)
        await ada.expect(200, 'GET', '/livez')
      }
      socket.send('0\r\n\r\n')
      await waitForFact(() => socket.text.includes(`"round":${round}`), { what: 'the answer' })
    }
    expect(socket.text.split('HTTP/1.1 200').length - 1).toBe(3)
    socket.close()
  })

  it('a foreign Origin is refused, with and without an unsupported Upgrade', async () => {
    for (const extra of [h2c, ['Connection: Upgrade', 'Upgrade: websocket'], []]) {
      const { status } = await ask('GET /socket.io/?EIO=4&transport=websocket', [
        'Origin: https://evil.example',
        ...extra,
      ])
      expect([400, 403]).toContain(status)
    }
  })

  it('WebSocket connections are accepted, although other upgrades are ignored', async () => {
    const user = await SocketUser.connect(server.url, { cookie: ada.cookie })
    expect(user.socket.connected).toBe(true)
    user.close()
  })
})

describe('real clients that ask for HTTP/2', () => {
  it('curl --http2 gets its responses in HTTP/1.1', async (context) => {
    if (!(await has('curl', '--version'))) return context.skip('curl is not installed')
    const { stdout } = await run('curl', ['-sS', '--max-time', '5', '--http2', '-i', `${server.url}/livez`])
    expect(stdout).toMatch(/^HTTP\/1.1 200 [^]*\{"alive":true\}/)
    const posted = await run('curl', [
      ...['-sS', '--max-time', '5', '--http2', '-X', 'PATCH', '-H', 'content-type: application/json'],
      ...['-H', `cookie: ${ada.cookie}`, '-d', '{"by":"curl"}', `${server.url}/v1/session/data`],
    ])
    expect(posted.stdout).toContain('"by":"curl"')
  })

  it("Java's HttpClient gets responses although it requests h2c", async (context) => {
    if (!(await has('java', '-version'))) return context.skip('no Java is installed')
    const folder = await mkdtemp(join(tmpdir(), 'chorus-java-'))
    const file = join(folder, 'Ask.java')
    await writeFile(
      file,
      `import java.net.URI;
import java.net.http.*;
public class Ask {
  public static void main(String[] args) throws Exception {
    HttpClient client = HttpClient.newHttpClient();
    HttpRequest.Builder get = HttpRequest.newBuilder(URI.create(args[0] + "/livez"));
    System.out.println(client.send(get.build(), HttpResponse.BodyHandlers.ofString()).body());
    HttpRequest patch = HttpRequest.newBuilder(URI.create(args[0] + "/v1/session/data"))
      .header("cookie", args[1]).header("content-type", "application/json")
      .method("PATCH", HttpRequest.BodyPublishers.ofString("{\\"by\\":\\"java\\"}")).build();
    System.out.println(HttpClient.newHttpClient().send(patch, HttpResponse.BodyHandlers.ofString()).body());
  }
}
`,
    )
    try {
      const { stdout } = await run('java', [file, server.url, ada.cookie ?? ''], { timeout: 25_000 })
      expect(stdout).toContain('{"alive":true}')
      expect(stdout).toContain('"by":"java"')
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
