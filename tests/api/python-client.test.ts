/**
 * A real python-socketio client. It stores the session cookie by itself, and may send the cookie's
 * value in quotes.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

const run = promisify(execFile)

let server: ServerProcess
let folder: string
/** Reason why Python or its client cannot be installed. Undefined if they are installed. */
let absence: string | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chorus-python-'))
  server = await startQuickServer({ env: { LIMIT_SIGN_INS_ADDRESS: '0', LIMIT_CONNECTS_ADDRESS: '0' } })
  absence = await run('python3', ['-m', 'venv', folder]).then(
    () => undefined,
    () => 'no Python with venv is installed',
  )
  absence ??= await run(join(folder, 'bin/pip'), [
    ...['install', '--quiet', '--disable-pip-version-check'],
    ...['python-socketio==5.14.3', 'aiohttp==3.13.2'],
  ]).then(
    () => undefined,
    () => 'python-socketio cannot be installed',
  )
}, 120_000)

afterAll(async () => {
  await server.remove()
  await rm(folder, { recursive: true, force: true })
})

it('[ACK1] a Python client signs in with aiohttp and chats, thirty times', async (context) => {
  if (absence !== undefined) return context.skip(absence)
  const script = join(folder, 'chat.py')
  await writeFile(
    script,
    `
import asyncio, sys, uuid
import aiohttp, socketio

url = sys.argv[1]

async def chat(number):
    # Quotes what it thinks needs quotes, as by default; unsafe: the host is an address.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        account = {"handle": f"python{number}", "password": "a long enough password", "name": "Python"}
        async with session.post(url + "/v1/users", json=account) as response:
            assert response.status == 201, await response.text()
        async with session.get(url + "/v1/session") as response:
            assert response.status == 200, await response.text()
        async with session.post(url + "/v1/conversations", json={"kind": "channel", "name": f"room {number}"}) as response:
            conversation = (await response.json())["conversation"]["id"]
        client = socketio.AsyncClient(http_session=session, reconnection=False)
        ready = asyncio.Event()
        client.on("ready", lambda _payload: ready.set())
        await client.connect(url, transports=["websocket"] if number % 2 else ["polling"])
        await asyncio.wait_for(ready.wait(), 10)
        message = {"conversation": conversation, "clientId": str(uuid.uuid4()), "text": "from Python"}
        answer = await client.call("send", message, timeout=10)
        assert answer["ok"], answer
        refused = await client.call("send", {**message, "clientId": str(uuid.uuid4()), "data": b"bytes"}, timeout=10)
        assert not refused["ok"] and refused["error"]["code"] == "invalid", refused
        await client.disconnect()

async def main():
    for number in range(30):
        await chat(number)
    # The same cookie in quotes, as a jar writes a value with a slash.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        account = {"handle": "python0", "password": "a long enough password"}
        async with session.post(url + "/v1/session", json=account) as response:
            value = response.cookies["chorus_session"].value
        async with session.get(url + "/v1/session", headers={"cookie": f'chorus_session="{value}"'}) as response:
            assert response.status == 200
    print("all thirty")

asyncio.run(main())
`,
  )
  const { stdout } = await run(join(folder, 'bin/python'), [script, server.url], { timeout: 60_000 })
  expect(stdout.trim()).toBe('all thirty')
}, 90_000)
