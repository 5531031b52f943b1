/**
 * The composer, the text field for a new message: used by keyboard, with an input method, in two
 * tabs, through reloads and without a network. Typed text is never lost.
 */
import type { Browser, CDPSession, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startChromium, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { startQuickServer } from '../quick-server.ts'
import { Person } from './person.ts'

let browser: Browser
let server: ServerProcess

beforeAll(async () => {
  ;[browser, server] = await Promise.all([startChromium(), startQuickServer({ env: { LIMIT_SIGN_INS_ADDRESS: '0' } })])
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

const twoPeople = () =>
  Promise.all([Person.signUp(browser, server.url, 'Ada Lovelace'), Person.signUp(browser, server.url, 'Bob Builder')])

const composerOf = (page: Page) => page.locator('textarea.composer-text')

const holds = (page: Page, text: string) =>
  waitForFact(async () => (await composerOf(page).inputValue()) === text, { what: `${text} in the composer` })

/** Presses a key of a keyboard layout that Playwright does not support. */
async function pressAt(devtools: CDPSession, key: string, code: string, modifiers = 0): Promise<void> {
  const virtualKey = { windowsVirtualKeyCode: code.charCodeAt(3), code, key, modifiers }
  await devtools.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', ...virtualKey })
  await devtools.send('Input.dispatchKeyEvent', { type: 'keyUp', ...virtualKey })
}

/**
 * Composes text as an input method does, and presses Enter to choose a word. This Enter must run no
 * command, such as sending the message.
 */
async function compose(page: Page, text: string): Promise<void> {
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length })
  await devtools.send('Input.dispatchKeyEvent', {
    type: 'rawKeyDown',
    windowsVirtualKeyCode: 229,
    key: 'Enter',
    code: 'Enter',
  })
  await devtools.send('Input.insertText', { text })
  // Safari reports this Enter after the end of the composition, so it does not look like a part of
  // the composition.
  await page.evaluate(() => {
    const enter = new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true })
    document.activeElement?.dispatchEvent(enter)
  })
  await devtools.detach()
}

it('[APP1] an emoji is chosen by keyboard, without sending the message', async () => {
  const [ada, bob] = await twoPeople()
  await ada.begin([bob])
  const { page } = ada
  const picker = page.getByRole('dialog', { name: 'Emoji' })
  const search = picker.locator('input')
  const first = picker.locator('[frimousse-emoji]:visible').first()
  await ada.composer.fill('lunch is ')
  const open = async (): Promise<void> => {
    await page.getByRole('button', { name: 'Emoji', exact: true }).press('Enter')
    await first.waitFor()
    await waitForFact(() => search.evaluate((element) => element === document.activeElement), {
      what: 'the focus in the search',
    })
  }
  await open()
  await page.keyboard.type('pizza')
  await waitForFact(async () => (await first.textContent()) === '🍕', {
    what: 'the pizza first',
  })
  await page.keyboard.press('Enter')
  await picker.waitFor({ state: 'detached' })
  await holds(page, 'lunch is 🍕')

  // Without a search text, the arrow keys move through the emoji.
  await open()
  const active = picker.locator('[data-active]')
  await page.keyboard.press('ArrowDown')
  await active.waitFor()
  const below = await active.textContent()
  await page.keyboard.press('ArrowRight')
  const chosen = await waitForFact(
    async () => {
      const text = await active.textContent()
      return text !== below && text
    },
    { what: 'the emoji on the right' },
  )
  await page.keyboard.press('Enter')
  await holds(page, `lunch is 🍕${chosen}`)

  // If the search finds no emoji, Enter does nothing, and Escape closes only the emoji picker.
  await open()
  await page.keyboard.type('qqqqqq')
  await picker.getByText('No emoji found').waitFor()
  await page.keyboard.press('Enter')
  await picker.waitFor()
  await page.keyboard.press('Escape')
  await picker.waitFor({ state: 'detached' })
  await ada.composer.waitFor()
  expect(await ada.texts()).toEqual([])

  await ada.composer.press('Enter')
  await ada.sees(`lunch is 🍕${chosen}`)
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('[APP1] two tabs share one draft, which is cleared after sending', async () => {
  const [ada, bob] = await twoPeople()
  await ada.begin([bob])
  await ada.write('first')
  await ada.sees('first')
  const here = ada.page
  const there = await ada.context.newPage()
  await there.goto(here.url())
  await composerOf(there).waitFor()
  await composerOf(here).pressSequentially('typed here')
  await holds(there, 'typed here')
  await composerOf(there).press('End')
  await composerOf(there).pressSequentially(' and there')
  await holds(here, 'typed here and there')
  await composerOf(there).press('Enter')
  await holds(there, '')
  await holds(here, '')
  await composerOf(here).pressSequentially('next')
  await holds(there, 'next')
  await Promise.all([here.reload(), there.reload()])
  await holds(here, 'next')
  await holds(there, 'next')
  await bob.open('Ada Lovelace')
  await bob.sees('typed here and there')
  expect(await bob.texts()).toEqual(['first', 'typed here and there'])

  // Signing out removes all drafts from the browser's storage.
  await here.getByRole('button', { name: 'Account: Ada Lovelace' }).click()
  await here.getByRole('menuitem', { name: 'Sign out' }).click()
  await here.getByRole('button', { name: 'Create an account' }).waitFor()
  const left = () => here.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('draft')))
  await waitForFact(async () => (await left()).length === 0, { what: 'no draft in storage' })
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('[APP1] an unsent reply survives a reload, an unsaved edit survives a lost network', async () => {
  const [ada, bob] = await twoPeople()
  const carol = await Person.signUp(browser, server.url, 'Carol Shaw')
  await ada.begin([carol])
  await ada.begin([bob])
  // Wait until the second conversation is open. Until then, the composer belongs to the first one.
  await ada.page.getByRole('region', { name: 'Conversation: Bob Builder' }).waitFor()
  await ada.write('the first')
  await ada.sees('the first')
  await ada.choose('the first', 'Reply')
  await ada.composer.pressSequentially('half a re')
  await ada.page.reload()
  await holds(ada.page, 'half a re')
  await ada.page.getByText('Reply to Ada Lovelace').waitFor()
  await ada.composer.press('End')
  await ada.composer.pressSequentially('ply')
  await ada.composer.press('Enter')
  await ada.message('half a reply').filter({ hasText: 'the first' }).waitFor()
  await ada.sees('half a reply')

  await ada.choose('half a reply', 'Edit')
  await ada.composer.fill('a whole reply')
  await ada.open('Carol Shaw')
  await holds(ada.page, '')
  await ada.open('Bob Builder')
  await holds(ada.page, 'a whole reply')
  await ada.context.setOffline(true)
  await ada.page.getByTestId('connection-banner').waitFor()
  await ada.composer.press('Enter')
  await ada.page.getByText('Couldn’t edit').waitFor()
  await holds(ada.page, 'a whole reply')
  await ada.page.getByRole('button', { name: 'Save' }).waitFor()
  await ada.context.setOffline(false)
  await ada.page.getByTestId('connection-banner').waitFor({ state: 'detached' })
  await ada.composer.press('Enter')
  await ada.message('a whole reply').getByText('edited').waitFor()
  await holds(ada.page, '')
  await bob.open('Ada Lovelace')
  await bob.sees('a whole reply')
  for (const person of [ada, bob, carol]) {
    person.expectNoSurprises()
    await person.leave()
  }
})

it('[APP1] Enter of an input method submits no message, group or profile', async () => {
  const [ada, bob] = await twoPeople()
  const carol = await Person.signUp(browser, server.url, 'Carol Shaw')
  await ada.begin([bob])
  await ada.composer.focus()
  await compose(ada.page, 'にほん')
  await holds(ada.page, 'にほん')
  expect(await ada.texts()).toEqual([])

  const { page } = ada
  await page.getByRole('button', { name: 'New conversation' }).first().click()
  const people = page.getByRole('combobox', { name: 'People' })
  for (const other of [bob, carol]) {
    await people.fill(other.handle)
    await page.getByRole('option').filter({ hasText: other.handle }).first().click()
  }
  const name = page.getByLabel('Group name (optional)')
  await name.focus()
  await compose(page, '日本')
  await people.focus()
  await compose(page, 'あ')
  expect(await name.inputValue()).toBe('日本')
  await page.getByRole('dialog').waitFor()
  await page.keyboard.press('Escape')
  expect(await bob.item('日本').count()).toBe(0)

  await page.goto('/settings')
  await page.getByLabel('Name', { exact: true }).focus()
  await compose(page, '名')
  expect(await page.getByText('Profile saved').count()).toBe(0)
  for (const person of [ada, bob, carol]) {
    person.expectNoSurprises()
    await person.leave()
  }
})

it('shortcuts work on other keyboard layouts, copying works without a clipboard API', async () => {
  const [ada, bob] = await twoPeople()
  await ada.context.addInitScript(() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined })
    document.addEventListener('copy', () => {
      const field = document.activeElement as HTMLTextAreaElement
      document.documentElement.dataset['copied'] = field.value.slice(field.selectionStart, field.selectionEnd)
    })
  })
  await ada.page.reload()
  await ada.begin([bob])
  await ada.write('to be copied')
  await ada.sees('to be copied')
  await ada.choose('to be copied', 'Copy text')
  await ada.page.getByText('Text copied').waitFor()
  expect(await ada.page.evaluate(() => document.documentElement.dataset['copied'])).toBe('to be copied')

  const devtools = await ada.context.newCDPSession(ada.page)
  const control = 2
  await pressAt(devtools, 'л', 'KeyK', control)
  await ada.page.getByRole('dialog').waitFor()
  await ada.page.keyboard.press('Escape')
  await ada.page.getByRole('dialog').waitFor({ state: 'detached' })
  await ada.message('to be copied').focus()
  await pressAt(devtools, 'ь', 'KeyM')
  await ada.page.getByRole('menu').waitFor()
  await pressAt(devtools, 'к', 'KeyR')
  await ada.page.getByText('Reply to Ada Lovelace').waitFor()
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('the composer shows all its text after a change of the window width', async () => {
  const [ada, bob] = await twoPeople()
  await ada.begin([bob])
  await ada.composer.fill('some words that need more lines where there is less room. '.repeat(4))
  const isCut = () => ada.composer.evaluate((field) => field.scrollHeight > field.clientHeight + 1)
  expect(await isCut()).toBe(false)
  for (const width of [360, 1280, 700]) {
    await ada.page.setViewportSize({ width, height: 800 })
    await waitForFact(async () => !(await isCut()), { what: `all lines at ${width} px` })
  }
  const { height } = (await ada.composer.boundingBox())!
  await ada.page.setViewportSize({ width: 1280, height: 800 })
  await waitForFact(async () => (await ada.composer.boundingBox())!.height < height, { what: 'fewer lines again' })
  await Promise.all([ada.leave(), bob.leave()])
})

it('a screen reader gets one announcement for each of several equal messages', async () => {
  const [ada, bob] = await twoPeople()
  await ada.begin([bob])
  await ada.write('start')
  await ada.sees('start')
  await bob.open('Ada Lovelace')
  await bob.sees('start')
  const announced = bob.page.getByRole('log', { name: 'New messages' }).locator('p')
  for (let count = 1; count <= 5; count += 1) {
    await ada.write('ok')
    await waitForFact(async () => (await announced.count()) === count, { what: `${count} announcements` })
  }
  expect(await announced.allTextContents()).toEqual(Array(5).fill('Ada Lovelace: ok'))
  await Promise.all([ada.leave(), bob.leave()])
})
