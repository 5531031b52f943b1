/**
 * Failures of the browser or of the network: the web application explains them, keeps working, and
 * never reloads in a loop.
 */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
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

/**
 * Browser options that block the service worker. It would cache all scripts; without it, the page
 * requests each script only when it needs it.
 */
const withoutWorker = { serviceWorkers: 'block' } as const

it('[APP3] the page reloads once for a missing script, then shows a message', async () => {
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace', withoutWorker)
  let loads = 0
  ada.page.on('load', () => (loads += 1))
  await ada.context.route(/\/assets\/settings-screen-.*\.js/, (route) => route.fulfill({ status: 404, body: '' }))
  // The page asks the server which build it delivers. This answer names no script of the page.
  await ada.context.route(`${server.url}/`, (route) =>
    route.request().resourceType() === 'fetch' ? route.fulfill({ body: '<!doctype html>' }) : route.continue(),
  )
  const openSettings = async (): Promise<void> => {
    await ada.page.getByRole('button', { name: 'Account: Ada Lovelace' }).first().click()
    await ada.page.getByRole('menuitem', { name: 'Settings' }).click()
  }
  await openSettings()
  await waitForFact(() => loads === 1, { what: 'one reload' })
  // After the reload, the address still opens the settings. Their script is missing again, and now
  // the page shows a message instead of a second reload.
  await ada.page.getByText('This page is out of date. Reload it.').waitFor()
  await ada.page.getByRole('button', { name: 'Reload' }).waitFor()
  await ada.page.goto('/')
  await ada.isIn()
  await openSettings()
  await ada.page.getByText('This page is out of date. Reload it.').waitFor()
  // All other parts of the page still work.
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('dialog').waitFor()
  expect(loads).toBe(2)
  ada.expectNoSurprises()
  await ada.leave()
})

it('[APP3] a script that failed to load offline loads once online, without a reload', async () => {
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace', withoutWorker)
  let loads = 0
  ada.page.on('load', () => (loads += 1))
  await ada.context.setOffline(true)
  await ada.page.getByTestId('connection-banner').waitFor()
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByText('isn’t on this device yet').waitFor()
  await ada.context.setOffline(false)
  await ada.page.getByTestId('connection-banner').waitFor({ state: 'detached' })
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('dialog').waitFor()
  expect(loads).toBe(0)
  ada.expectNoSurprises()
  await ada.leave()
})

it('[APP3] a script whose request fails once loads at the second request', async () => {
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace', withoutWorker)
  let requests = 0
  await ada.page.route('**/assets/*.js', (route) => (requests++ === 0 ? route.abort() : route.continue()))
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('dialog').waitFor()
  expect(requests).toBeGreaterThan(1)
  ada.expectNoSurprises()
  await ada.leave()
})

it.each([
  ['throws', 'throw new DOMException("The operation is insecure.", "SecurityError")'],
  [
    'fails',
    'const request = new EventTarget(); setTimeout(() => request.dispatchEvent(new Event("error")), 0); return request',
  ],
])('[APP3] the page works if IndexedDB %s, and shows that nothing is stored', async (_how, body) => {
  const ada = await Person.arrive(browser, server.url, 'Ada Lovelace')
  await ada.context.addInitScript(`IDBFactory.prototype.open = function () { ${body} }`)
  await ada.page.reload()
  await ada.signUpHere()
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  const line = ada.page.getByText('This browser can’t save data.')
  await line.waitFor()
  await ada.begin([bob])
  await ada.write('from a private window')
  await ada.sees('from a private window')
  await bob.open('Ada Lovelace')
  await bob.sees('from a private window')
  await ada.page.reload()
  await ada.sees('from a private window')
  await line.waitFor()
  await ada.page.getByRole('button', { name: 'Dismiss' }).first().click()
  await line.waitFor({ state: 'detached' })
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('[APP3] an error in one conversation leaves the rest of the page working', async () => {
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace')
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  await ada.begin([bob])
  await ada.composer.fill('kept')
  const logged: string[] = []
  ada.page.on('console', (message) => void (message.type() === 'error' && logged.push(message.text())))
  await ada.page.evaluate(() => sessionStorage.setItem('broken', 'yes'))
  await ada.context.addInitScript(() => {
    if (sessionStorage.getItem('broken') === null) return
    Object.defineProperty(HTMLTextAreaElement.prototype, 'scrollHeight', {
      get: () => {
        throw new Error('broken on purpose')
      },
    })
  })
  await ada.page.reload()
  await ada.page.getByText('This conversation can’t be shown').waitFor()
  expect(logged.join('\n')).toContain('broken on purpose')
  // The conversation list and the dialogs still work.
  await ada.item('Bob Builder').waitFor()
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('dialog').waitFor()
  await ada.page.keyboard.press('Escape')
  await ada.page.evaluate(() => sessionStorage.removeItem('broken'))
  await ada.page.getByRole('button', { name: 'Reload' }).click()
  await waitForFact(async () => (await ada.composer.inputValue()) === 'kept', { what: 'the draft again' })
  await Promise.all([ada.leave(), bob.leave()])
})

it("[APP3] avatars load only from the server's origin and from AVATAR_ORIGINS", async () => {
  const friendly = await startQuickServer({
    env: { LIMIT_SIGN_INS_ADDRESS: '0', AVATAR_ORIGINS: 'https://pictures.example' },
  })
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'
  const asked: string[] = []
  for (const { url, shows } of [
    { url: server.url, shows: '.avatar-initials' },
    { url: friendly.url, shows: 'img' },
  ]) {
    const ada = await Person.signUp(browser, url, 'Ada Lovelace')
    await ada.context.route('https://pictures.example/**', async (route) => {
      asked.push(url)
      await route.fulfill({ contentType: 'image/svg+xml', body: svg })
    })
    const bob = await HttpUser.signUp(url, { name: 'Bob Builder' })
    const { id } = await HttpUser.signIn(url, ada.handle, password)
    await bob.expect(200, 'PATCH', '/v1/users/me', { avatar: 'https://pictures.example/bob.svg' })
    await bob.send(await bob.createConversation('direct', [id]), 'hello')
    const face = ada.item('Bob Builder').locator('.avatar')
    await face.locator(shows).waitFor()
    if (shows === 'img') {
      await waitForFact(() => face.locator('img').evaluate((image: HTMLImageElement) => image.naturalWidth > 0), {
        what: 'the picture',
      })
    } else expect(await face.locator('img').count()).toBe(0)
    await ada.leave()
  }
  expect(asked).toEqual([friendly.url])
  await friendly.remove()
})
