/**
 * The demo of the README, done as a person does it: one browser, two tabs at two servers of a
 * cluster, one channel, and the trace of the first message. With DEMO_PICTURE=FILE, the test also
 * stores a screenshot in that file.
 */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasBalancer, hasPostgres, hasRedis, startChromium, waitForFact } from '@chorus/testkit'
import { isSignedIn, signUpAt } from './person.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const canRun = hasPostgres() && hasRedis() && hasBalancer('haproxy')

describe.skipIf(!canRun)('the demo of the README', () => {
  const lines: string[] = []
  let cluster: ChildProcess
  let browser: Browser

  beforeAll(async () => {
    browser = await startChromium()
    cluster = spawn('npm', ['run', '--silent', 'cluster', '--', '--servers', '2'], {
      cwd: repository,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    createInterface({ input: cluster.stdout! }).on('line', (line) => lines.push(line))
    await waitForFact(() => lines.includes('ready') || cluster.exitCode !== null, { what: 'ready', timeoutMs: 55_000 })
  })

  afterAll(async () => {
    await browser.close()
    const exit = once(cluster, 'exit')
    cluster.kill('SIGTERM')
    await exit
  })

  const urlOf = (part: string): string => {
    const url = lines.map((line) => new RegExp(`^${part} (\\S+) `).exec(line)?.[1]).find((found) => found !== undefined)
    if (url === undefined) throw new Error(`the cluster has printed no ${part}`)
    return url
  }

  it('[WELCOME1] a message travels between tabs at two servers, and can be traced', async () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
    expect(readme).toContain('npm run cluster -- --servers 2')
    const context = await browser.newContext({
      viewport: { width: 760, height: 560 },
      reducedMotion: 'reduce',
      permissions: ['clipboard-read', 'clipboard-write'],
    })
    context.setDefaultTimeout(20_000)
    const [first, second] = [await context.newPage(), await context.newPage()]
    await first.goto(urlOf('server 1'))
    await signUpAt(first, 'Ada Lovelace', 'ada')
    await second.goto(urlOf('server 2'))
    await signUpAt(second, 'Bob Builder', 'bob')
    for (const page of [first, second])
      await page
        .getByRole('link', { name: /general/ })
        .first()
        .click()

    await first.getByRole('textbox', { name: /^Message/ }).fill('Hello!')
    await first.keyboard.press('Enter')
    await second.getByRole('article').filter({ hasText: 'Hello!' }).waitFor()
    await second.getByRole('textbox', { name: /^Message/ }).fill('Hello, Ada!')
    await second.keyboard.press('Enter')
    await first.getByRole('article').filter({ hasText: 'Hello, Ada!' }).waitFor()

    // Each tab keeps its own user after a reload. The servers need different IP addresses for this,
    // because cookies ignore ports.
    await first.reload()
    await isSignedIn(first, 'Ada Lovelace')
    const message = first.getByRole('article').filter({ hasText: 'Hello!' })
    await message.waitFor()
    if (process.env.DEMO_PICTURE !== undefined) await first.screenshot({ path: process.env.DEMO_PICTURE })

    await message.hover()
    await message.getByRole('button', { name: /More/ }).click()
    await first.getByRole('menuitem', { name: /Copy link/ }).click()
    const link = await first.evaluate(() => navigator.clipboard.readText())
    expect(link).toMatch(/\/c\/[\da-f-]{36}\/\d+$/)
    const { stdout } = await promisify(execFile)(
      'npm',
      ['run', '--silent', 'trace', '--', '--at', `${urlOf('metrics 1')},${urlOf('metrics 2')}`, link, 'bob'],
      { cwd: repository },
    )
    expect(stdout).toMatch(/committed +.*message\.created/)
    expect(stdout).toMatch(/server-1 .*published it to the other servers/)
    expect(stdout).toMatch(/server-2 .*received it from another server/)
    expect(stdout).toMatch(/server-2 .*handed it to 1 connections/)
    await context.close()
  })
})
