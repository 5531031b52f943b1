/**
 * The guide with curl in docs/embedding.md: its commands, run as they are printed, against a real
 * server. Only the address of the server and the place of its database come from the test.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const timeoutMs = 100_000
let server: ServerProcess

beforeAll(async () => {
  server = await startQuickServer()
})

afterAll(async () => {
  await server.remove()
})

/** Returns the examples in this language of the section about curl. */
function readExamples(language: string): string[] {
  const text = readFileSync(join(root, 'docs/embedding.md'), 'utf8')
  const [, section = ''] = text.split('## The same with curl\n')
  return [...section.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, name]) => name === language)
    .map(([, , example = '']) => example)
}

/** Runs a script in bash with the settings of the server. Resolves to its output. */
function runScript(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { PATH, HOME } = process.env
    const { database } = server
    const place = 'databaseUrl' in database ? { DATABASE_URL: database.databaseUrl } : { DATA_DIR: database.dataDir }
    const env = { PATH, HOME, CHORUS_URL: server.url, ...place }
    const child = spawn('bash', ['-e', '-u', '-o', 'pipefail'], { cwd: root, env, timeout: timeoutMs })
    let output = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output)
      else reject(new Error(`the guide ended with ${code ?? signal}\n${output}\n${errors}`))
    })
    child.stdin.end(script)
  })
}

it(
  '[SUB1] [CARD1] [KEY1] [TOKEN1] does what the guide with curl promises',
  async () => {
    const [program = ''] = readExamples('js')
    expect(program).toContain('// buyer.mjs')
    // Below the root, because the program imports socket.io-client.
    const file = join(root, 'node_modules/.cache', `buyer-${process.pid}.mjs`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, program)
    onTestFinished(() => rmSync(file))
    const script = readExamples('sh').join('\n').replace('node buyer.mjs', `node ${file}`)
    const output = await runScript(script)
    const [ada, bob, created, found, sent, acted, repeated, late, updated, history, ...rest] = output.trim().split('\n')
    const parse = (line = ''): unknown => JSON.parse(line)

    expect([parse(ada), parse(bob)]).toMatchObject([
      { user: { externalId: 'buyer-1', name: 'Ada' } },
      { user: { externalId: 'seller-9', name: 'Bob' } },
    ])
    expect(created).toMatch(/^[0-9a-f-]{36}$/)
    expect(found).toBe(created)
    const { message } = parse(sent) as { message: { seq: number; sender: string } }
    expect(message).toMatchObject({ conversation: created, card: { version: 1, state: 'open', acted: null } })
    const act = parse(acted) as { seq: number }
    expect(act.seq).toBeGreaterThan(message.seq)
    expect(parse(repeated)).toMatchObject(act)
    expect(parse(late)).toMatchObject({ code: 'stale', current: { card: { acted: { ...act, action: 'accept' } } } })
    expect(parse(updated)).toMatchObject({ seq: act.seq + 1, card: { version: 2, state: 'paid', acted: null } })
    const { messages, seq } = parse(history) as { messages: { card: object }[]; seq: number }
    expect(messages).toMatchObject([{ seq: message.seq, card: { version: 2, state: 'paid', actions: [] } }])
    // One change for the act, one for the state: the repetition and the late act stored nothing.
    expect(seq).toBe(act.seq + 1)
    expect(rest[0]).toBe('connected as Ada')
    expect(rest).toContain(`${seq + 1} message.created Paid. Thank you!`)
    expect(rest.join('\n')).toContain(`seq: ${seq + 1}`)
  },
  timeoutMs,
)
