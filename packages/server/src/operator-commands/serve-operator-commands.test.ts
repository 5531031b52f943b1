/**
 * Tests the requests over the socket of a data directory: which a server runs, and how it refuses
 * the others.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Database } from '../database/database.ts'
import { connectToHolder, type DirectoryLock, lockDirectory } from '../database/directory-lock.ts'
import { createLogger } from '../support/logger.ts'
import { localRequestLimits, readLine } from './local-request.ts'
import { serveOperatorCommands } from './serve-operator-commands.ts'

let folder: string
let lock: DirectoryLock
const logLines: string[] = []
/** Rows that the stubbed database returns. */
let rows: readonly unknown[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'chorus-operator-'))
  lock = await lockDirectory(folder)
  logLines.length = 0
  rows = []
  const database = {
    serveLocal: (handler: (socket: Socket) => void) => lock.serve(handler),
    query: async () => rows,
  } as unknown as Database
  serveOperatorCommands(database, createLogger('debug', 'test', { write: (line) => void logLines.push(line) }))
})
afterEach(() => {
  lock.release()
  rmSync(folder, { recursive: true, force: true })
})

async function connect(): Promise<Socket> {
  const socket = await connectToHolder(folder)
  if (socket === undefined) throw new Error('no process holds the lock')
  return socket
}

/** Sends a line. Resolves to the response, or to the reason why there was none. */
async function ask(line: string): Promise<unknown> {
  const socket = await connect()
  const answer = readLine(socket, localRequestLimits.responseMaxBytes, 5_000)
  socket.write(line)
  try {
    return JSON.parse(await answer)
  } catch (error) {
    return (error as Error).message
  } finally {
    socket.destroy()
  }
}

const request = (command: string, ...args: string[]): string => `${JSON.stringify({ command, args })}\n`

it('[OPS1] runs a command on its own database', async () => {
  expect(await ask(request('webhooks', 'list'))).toEqual({ kind: 'done', text: 'no endpoints\n' })
})

it('[OPS1] answers wrong arguments with the reason', async () => {
  expect(await ask(request('webhooks', 'remove', 'x'))).toEqual({
    kind: 'failed',
    message: 'unable to remove; "x" is not the id of an endpoint',
    isUsage: true,
  })
  expect(await ask(request('toString', 'list'))).toMatchObject({ kind: 'failed', isUsage: true })
})

it('[OPS1] logs neither the arguments of a command nor its text', async () => {
  rows = [{}]
  expect(await ask(request('webhooks', 'add', 'https://example.org/a-secret-path'))).toMatchObject({ kind: 'done' })
  expect(logLines.join('')).toContain('ran an operator command')
  expect(logLines.join('')).not.toContain('a-secret-path')
  expect(logLines.join('')).not.toContain('whsec_')
})

it('[LIM1] [OPS1] refuses requests of another form, and closes on too long ones', async () => {
  const failed = { kind: 'failed', isUsage: false }
  expect(await ask('what?\n')).toMatchObject(failed)
  expect(await ask('{"command":"webhooks"}\n')).toMatchObject(failed)
  expect(await ask(`${JSON.stringify({ command: 'webhooks', args: [], more: 1 })}\n`)).toMatchObject(failed)
  expect(await ask('x'.repeat(localRequestLimits.requestMaxBytes + 1))).toMatch(/connection ended|ECONNRESET|EPIPE/)
})

it('[LIM1] [OPS1] serves a limited number of connections', async () => {
  const open = await Promise.all(Array.from({ length: localRequestLimits.connectionsMax }, connect))
  expect(await ask(request('webhooks', 'list'))).toMatch(/connection ended|ECONNRESET|EPIPE/)
  for (const socket of open) socket.destroy()
  await expect.poll(() => ask(request('webhooks', 'list'))).toMatchObject({ kind: 'done' })
})

it('[OPS1] finds no server in a folder without one', async () => {
  lock.release()
  expect(await connectToHolder(folder)).toBeUndefined()
  expect(await connectToHolder(join(folder, 'missing'))).toBeUndefined()
})
