/**
 * The web application with a lost network and with a killed server: unsent messages wait, are sent
 * once and in order, and no message that was shown disappears.
 */
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { HttpUser, startChromium, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { startQuickServer } from '../quick-server.ts'
import { password, Person } from './person.ts'

let browser: Browser
let server: ServerProcess

beforeAll(async () => {
  ;[browser, server] = await Promise.all([startChromium(), startQuickServer({ env: { LIMIT_SIGN_INS_ADDRESS: '0' } })])
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

// Restart the server after a test that failed while the server was down, so that the next tests do
// not fail, too.
afterEach(async () => {
  await fetch(`${server.url}/livez`).catch(() => server.start())
})

const banner = (person: Person) => person.page.getByTestId('connection-banner')
const numbered = (word: string, count: number) => Array.from({ length: count }, (_, index) => `${word} ${index}`)

it('[ORD2] [IDEM1] [CLI1] messages written offline are sent once and in order', async () => {
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace')
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  await ada.begin([bob])
  await ada.write('while online')
  await ada.sees('while online')
  await bob.open('Ada Lovelace')
  await bob.sees('while online')

  await ada.context.setOffline(true)
  await banner(ada).waitFor()
  const written = numbered('written offline', 8)
  for (const text of written.slice(0, 4)) await ada.write(text)
  expect(await ada.stateOf('written offline 3')).toBe('sending')
  await ada.message('while online').waitFor()
  await bob.write('meanwhile')
  await bob.sees('meanwhile')
  // Ada goes online, and offline again while her unsent messages are being sent.
  await ada.context.setOffline(false)
  await bob.sees('written offline 0')
  await ada.context.setOffline(true)
  for (const text of written.slice(4)) await ada.write(text)
  await ada.context.setOffline(false)
  await ada.sees('written offline 7')
  await ada.sees('meanwhile')
  await bob.sees('written offline 7')
  const offline = (texts: readonly string[]) => texts.filter((text) => text.startsWith('written offline'))
  expect(offline(await bob.texts())).toEqual(written)
  expect(offline(await ada.texts())).toEqual(written)
  await banner(ada).waitFor({ state: 'detached' })
  ada.expectNoSurprises()
  bob.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('[ACK1] [CLI1] [RES1] no message is lost or repeated when the server is killed', async () => {
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace')
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  await ada.begin([bob])
  await ada.write('before the crash')
  await ada.sees('before the crash')
  await bob.open('Ada Lovelace')
  await bob.sees('before the crash')

  // Wait until the service worker is active. From then on, the application opens without a server.
  await ada.page.evaluate(async () => {
    const { active } = await navigator.serviceWorker.ready
    if (active === null || active.state === 'activated') return
    await new Promise((resolve) => active.addEventListener('statechange', resolve))
  })
  const fromAda = numbered('Ada writes on', 6)
  const fromBob = numbered('Bob writes on', 6)
  await ada.write(fromAda[0]!)
  await bob.write(fromBob[0]!)
  await ada.composer.pressSequentially('Ada writes on')
  await server.kill9()
  // The server was killed while Ada was typing: the typed text stays.
  await ada.composer.pressSequentially(' 1')
  await ada.composer.press('Enter')
  for (const text of fromAda.slice(2, 4)) await ada.write(text)
  for (const text of fromBob.slice(1, 4)) await bob.write(text)
  // Unsent messages survive a reload of the page while the server is down.
  await ada.page.reload()
  await ada.message('before the crash').waitFor()
  await ada.message(fromAda[3]!).waitFor()
  await server.start()
  for (const text of fromAda.slice(4)) await ada.write(text)
  for (const text of fromBob.slice(4)) await bob.write(text)
  for (const person of [ada, bob]) {
    for (const text of [fromAda[5]!, fromBob[5]!]) {
      await waitForFact(async () => ['sent', 'read', 'received'].includes((await person.stateOf(text)) ?? ''), {
        what: text,
        timeoutMs: 25_000,
      })
    }
    const texts = await person.texts()
    expect(texts.filter((text) => text.startsWith('Ada writes on'))).toEqual(fromAda)
    expect(texts.filter((text) => text.startsWith('Bob writes on'))).toEqual(fromBob)
  }
  expect(await ada.texts()).toEqual(await bob.texts())
  await Promise.all([ada.leave(), bob.leave()])
})

it("[ACL1] [ACK2] a removed member's message, written offline, reaches no other member", async () => {
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace')
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  const carol = await Person.signUp(browser, server.url, 'Carol Shaw')
  await ada.begin([bob, carol], 'In and out')
  await ada.write('welcome')
  await ada.sees('welcome')
  await bob.open('In and out')
  await bob.sees('welcome')
  const conversation = /[0-9a-f-]{36}/.exec(ada.page.url())![0]
  const owner = await HttpUser.signIn(server.url, ada.handle, password)
  const member = await HttpUser.signIn(server.url, bob.handle, password)

  await bob.context.setOffline(true)
  await banner(bob).waitFor()
  await bob.write('may I still?')
  await owner.expect(204, 'DELETE', `/v1/conversations/${conversation}/members/${member.id}`)
  await bob.context.setOffline(false)
  await banner(bob).waitFor({ state: 'detached' })
  await waitForFact(async () => (await bob.item('In and out').count()) === 0, { what: 'the conversation to be gone' })
  await ada.write('barrier')
  await carol.open('In and out')
  await carol.sees('barrier')
  expect(await ada.message('may I still?').count()).toBe(0)
  expect(await carol.message('may I still?').count()).toBe(0)
  // After Bob has been added again, he sees the conversation and can write.
  await owner.expect(200, 'PUT', `/v1/conversations/${conversation}/members/${member.id}`, {})
  await bob.open('In and out')
  await bob.sees('welcome')
  await bob.write('once more')
  await ada.sees('once more')
  for (const person of [ada, bob, carol]) await person.leave()
})

it('[ACK2] a refused message is shown as failed, and is sent again on retry', async () => {
  const ada = await Person.arrive(browser, server.url, 'Ada Lovelace')
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  // Forwards the WebSocket between Ada's page and the server, but refuses one chosen message.
  let refusals = 0
  await ada.page.routeWebSocket(/socket\.io/, (route) => {
    const toServer = route.connectToServer()
    route.onMessage((packet) => {
      const send = typeof packet === 'string' ? /^42(\d+)\["send",.*to be refused/.exec(packet) : null
      if (send === null || refusals > 0) {
        toServer.send(packet)
        return
      }
      refusals += 1
      const error = { code: 'forbidden', message: 'unable to send message; somebody is in a bad mood', retry: 'never' }
      route.send(`43${send[1]}${JSON.stringify([{ ok: false, error }])}`)
    })
  })
  await ada.signUpHere()
  await ada.begin([bob])
  await ada.write('to be refused, once')
  await ada.message('to be refused, once').getByText('Couldn’t send').waitFor()
  expect(await ada.stateOf('to be refused, once')).toBe('failed')
  // The failed message does not delay the next one.
  await ada.write('and on we go')
  await ada.sees('and on we go')
  await ada.message('to be refused, once').getByRole('button', { name: 'Try again' }).click()
  await ada.sees('to be refused, once')
  await bob.open('Ada Lovelace')
  await bob.sees('to be refused, once')
  expect(await bob.texts()).toEqual(['and on we go', 'to be refused, once'])
  expect(refusals).toBe(1)
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})
