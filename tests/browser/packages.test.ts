/**
 * Two users chat through the published packages: their tarballs, installed into empty projects. The
 * server, a back end in CommonJS with Express, and a page that Vite has built for production are the
 * examples of docs/embedding.md. The other user is a plain ES module in Node.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { findFreePort, LogLines, spawnTracked, startChromium, waitForFact, whenExited } from '@chorus/testkit'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { PackedPackages, readExample } from '../packed-packages.ts'

const listening = /listening on (http:\/\/[^\s"]+)/
const stops: (() => Promise<unknown>)[] = []
let packed: PackedPackages
let browser: Browser

beforeAll(async () => {
  packed = new PackedPackages()
  browser = await startChromium()
}, 300_000)

afterAll(async () => {
  await browser.close()
  await Promise.all(stops.map((stop) => stop()))
  packed.remove()
})

/** Starts a Node program in a folder. It ends with the test. */
function startProgram(folder: string, file: string, env: Readonly<Record<string, string>>) {
  const child = spawnTracked(process.execPath, [file], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
  })
  const logs = new LogLines()
  for (const stream of [child.stdout, child.stderr]) if (stream) logs.follow(stream)
  stops.push(() => {
    child.kill('SIGTERM')
    return whenExited(child)
  })
  return {
    logs,
    async waitForUrl(): Promise<string> {
      const [, url = ''] = await logs.waitFor(listening, child, 60_000)
      return new URL(url).origin
    },
  }
}

/** Starts the chat server, which lets pages of the shop in. Returns its address and a new key. */
async function startChat(shopUrl: string) {
  const project = packed.createProject('chat-server', { packages: ['server'] })
  const command = join(project, 'node_modules/@chorus/server/bin/chorus.js')
  const env = { HOST: '127.0.0.1', PORT: '0', DATA_DIR: join(project, 'data'), EMBED_ORIGINS: shopUrl }
  const url = await startProgram(project, command, env).waitForUrl()
  const args = [command, 'keys', 'create', '--name', 'shop', '--scope', 'read,write', '--json']
  const output = execFileSync(process.execPath, args, { env: { PATH: process.env['PATH'], ...env }, encoding: 'utf8' })
  return { url, key: JSON.parse(output) as { id: string; secret: string; signingSecret: string } }
}

/** Builds the page for production. Returns the folder that contains `dist`. */
function buildPage(chatUrl: string): string {
  const project = packed.createProject('shop-page', {
    packages: ['client', 'react'],
    links: { vite: 'apps/web', '@vitejs/plugin-react': 'apps/web', react: 'apps/web', 'react-dom': 'apps/web' },
    manifest: { type: 'module' },
    files: {
      'index.html': '<!doctype html><div id="root"></div><script type="module" src="/main.jsx"></script>',
      'vite.config.js': "import react from '@vitejs/plugin-react'\nexport default { plugins: [react()] }\n",
      'main.jsx': readExample('main.jsx'),
    },
  })
  const vite = join(project, 'node_modules/vite/bin/vite.js')
  const env = { PATH: process.env['PATH'], VITE_CHORUS_URL: chatUrl }
  execFileSync(process.execPath, [vite, 'build', '--logLevel', 'warn'], { cwd: project, env })
  return project
}

it('[EMBED1] [TOKEN1] [SUB1] two users chat through the published packages', async () => {
  const port = await findFreePort()
  const shopUrl = `http://127.0.0.1:${port}`
  const { url: chatUrl, key } = await startChat(shopUrl)
  const page = buildPage(chatUrl)
  const backEnd = packed.createProject('shop-server', {
    packages: ['backend'],
    links: { express: 'tests' },
    files: { 'server.cjs': readExample('server.cjs') },
  })
  await startProgram(page, join(backEnd, 'server.cjs'), {
    PORT: String(port),
    CHORUS_URL: chatUrl,
    CHORUS_KEY_ID: key.id,
    CHORUS_SECRET: key.secret,
    CHORUS_SIGNING_SECRET: key.signingSecret,
    CHORUS_WEBHOOK_SECRET: '',
  }).waitForUrl()
  const sellerProject = packed.createProject('seller', {
    packages: ['client'],
    manifest: { type: 'module' },
    files: { 'seller.js': sellerProgram },
  })
  const seller = startProgram(sellerProject, 'seller.js', { CHORUS_URL: chatUrl, SHOP_URL: shopUrl })
  await waitForFact(() => seller.logs.lines.includes('ready'), { what: 'the seller', timeoutMs: 30_000 })

  const tab = await browser.newPage()
  const surprises: string[] = []
  tab.on('pageerror', ({ message }) => surprises.push(message))
  tab.on('console', (line) => line.type() === 'error' && surprises.push(line.text()))
  await tab.goto(`${shopUrl}/?user=buyer-1`)
  await tab.getByLabel('Message').fill('Is it still there? 👋')
  await tab.getByRole('button', { name: 'Send' }).click()
  await tab.getByRole('listitem').filter({ hasText: 'Yes, Ada Lovelace, it is.' }).waitFor()
  expect(await tab.getByRole('listitem').allTextContents()).toEqual([
    'Is it still there? 👋',
    'Yes, Ada Lovelace, it is.',
  ])
  await waitForFact(() => seller.logs.lines.includes('"Is it still there? 👋" by Ada Lovelace'))

  // The page signs in by its token only: it has no cookie, and a reload shows the same.
  expect(await tab.context().cookies()).toEqual([])
  await tab.reload()
  await tab.getByRole('listitem').filter({ hasText: 'Yes, Ada Lovelace, it is.' }).waitFor()
  expect(surprises).toEqual([])
})

const sellerProgram = `
import { createChatClient } from '@chorus/client'
import { createFileStore } from '@chorus/client/node'

const { CHORUS_URL, SHOP_URL } = process.env
async function post(path) {
  const response = await fetch(SHOP_URL + path, { method: 'POST', headers: { 'x-user-id': 'seller-9' } })
  if (!response.ok) throw new Error('status ' + response.status)
  return response.json()
}

const chat = createChatClient({
  url: CHORUS_URL,
  store: createFileStore('./chat.json'),
  getToken: async () => (await post('/chat-token')).token,
})
const { conversation } = await post('/orders/4711/chat')
chat.onChange(async ({ conversation: changed, change }) => {
  if (changed !== conversation || change.type !== 'message.created') return
  const { sender, text } = change.message
  if (sender === chat.session.get().user.id) return
  const { name } = await chat.users.get(sender)
  console.log(JSON.stringify(text) + ' by ' + name)
  await chat.conversation(conversation).messages.send({ text: 'Yes, ' + name + ', it is.' })
})
chat.connection.subscribe(() => {
  if (chat.connection.get().state === 'ready') console.log('ready')
})
await chat.start()
`
