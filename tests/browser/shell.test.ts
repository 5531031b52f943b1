/**
 * The parts of the web application around the messages: the search, the dialog for a new
 * conversation, the conversation list, the Back button on a phone, and the offline state.
 */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HttpUser, startChromium, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { startQuickServer } from '../quick-server.ts'
import { password, Person } from './person.ts'

let browser: Browser
let server: ServerProcess

beforeAll(async () => {
  ;[browser, server] = await Promise.all([
    startChromium(),
    startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } }),
  ])
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

const groups = 110
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }

/** Creates an account with many groups, over HTTP. */
async function accountWithGroups(): Promise<HttpUser> {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  for (let index = 1; index <= groups; index += 1) await user.createConversation('group', [], `Group number ${index}`)
  return user
}

function arriveAs(user: HttpUser, options: BrowserContextOptions = {}): Promise<Person> {
  return Person.arriveSignedIn(browser, server.url, user, { ...options, name: 'Ada Lovelace' })
}

async function hasOpened(page: Page, title: string): Promise<void> {
  await page.getByRole('region', { name: `Conversation: ${title}`, exact: true }).waitFor()
}

it('[FIND1] the search finds an exact name among many, and scrolling shows all results', async () => {
  const user = await accountWithGroups()
  const ada = await arriveAs(user)
  const { page } = ada
  await ada.item('Group number').first().waitFor()
  for (const name of ['Group number 7', 'Group number 1', 'umber 105', 'NUMBER 33']) {
    await page.keyboard.press('Control+k')
    await page.getByRole('combobox').fill(name)
    await page.keyboard.press('Enter')
    await hasOpened(page, `Group n${/umber \d+/i.exec(name)?.[0].toLowerCase() ?? ''}`)
  }
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox').fill('group')
  await waitForFact(
    async () => {
      await page.locator('.option-list').evaluate((list) => (list.scrollTop = list.scrollHeight))
      return (await page.getByRole('option').filter({ hasText: 'Group number' }).count()) === groups
    },
    { what: 'all groups' },
  )
  ada.expectNoSurprises()
  await ada.leave()
})

it('[FIND1] the search opens the person of that name before a group that contains it', async () => {
  const grace = await HttpUser.signUp(server.url, { name: 'Grace Hopper' })
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  await user.createConversation('group', [grace.id], 'Friends of Grace')
  await user.createConversation('group', [grace.id], 'Disgraceful jokes')
  const ada = await arriveAs(user)
  await ada.item('Friends of Grace').waitFor()
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('combobox').waitFor()
  // Press Enter at once, before the server has returned results.
  await ada.page.keyboard.type('grace')
  await ada.page.keyboard.press('Enter')
  await hasOpened(ada.page, 'Grace Hopper')
  await ada.leave()
})

it('[FIND1] Enter adds the typed person to a new conversation, a second Enter starts it', async () => {
  await Promise.all(['Zoe Stranger', 'Aaron Stranger'].map((name) => HttpUser.signUp(server.url, { name })))
  const bob = await HttpUser.signUp(server.url, { name: 'Barbara Liskov' })
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  const ada = await arriveAs(user)
  const { page } = ada
  await page.getByRole('button', { name: 'New conversation' }).first().click()
  const field = page.getByRole('combobox', { name: 'People' })
  await page.getByRole('option').first().waitFor()
  expect(await field.getAttribute('aria-activedescendant'), 'nothing is lit in an empty field').toBeNull()
  await page.keyboard.type(bob.handle)
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Remove Barbara Liskov' }).waitFor()
  await page.keyboard.type(bob.handle)
  await page.getByText('Already chosen.').waitFor()
  await field.fill('')
  await page.getByRole('option').first().waitFor()
  await page.keyboard.press('Enter')
  await hasOpened(page, 'Barbara Liskov')
  await ada.leave()
})

it('[FIND1] the fields of a new group stay reachable in a low window', async () => {
  const people = await Promise.all(
    Array.from({ length: 4 }, (_, index) => HttpUser.signUp(server.url, { name: `Longest Name Number ${index}` })),
  )
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  const ada = await arriveAs(user, { viewport: { width: 390, height: 420 } })
  const { page } = ada
  await page.getByRole('button', { name: 'New conversation' }).first().click()
  for (const { handle } of people) {
    await page.getByRole('combobox', { name: 'People' }).fill(handle)
    await page.getByRole('option').filter({ hasText: handle }).first().click()
  }
  const name = page.getByLabel('Group name (optional)')
  const begin = page.getByRole('button', { name: /^Start/ })
  for (const control of [name, begin]) {
    await control.scrollIntoViewIfNeeded()
    const isOnTop = await control.evaluate((element) => {
      const { left, top, width, height } = element.getBoundingClientRect()
      return element.contains(document.elementFromPoint(left + width / 2, top + height / 2))
    })
    expect(isOnTop).toBe(true)
  }
  await ada.leave()
})

it.each([
  ['a tablet', { width: 820, height: 1180 }],
  ['a desktop at 200 % zoom', { width: 720, height: 450 }],
])('the conversation list shows avatars and names on %s', async (_what, viewport) => {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  const names = ['Analytical Engine', 'Bernoulli', 'Punched cards', 'Engine room']
  for (const [index, name] of names.entries())
    await user.createConversation(index % 2 === 0 ? 'group' : 'channel', [], `${name} ${user.handle.slice(-4)}`)
  const ada = await arriveAs(user, { viewport })
  await ada.item('Bernoulli').waitFor()
  const items = await ada.page
    .getByRole('navigation', { name: 'Conversations' })
    .getByRole('link')
    .evaluateAll((links) =>
      links.map((link) => {
        const title = link.querySelector('.conversation-item-title')?.getBoundingClientRect()
        const item = link.getBoundingClientRect()
        return {
          face: link.querySelector('[data-initials]')?.getAttribute('data-initials'),
          isNamed: title !== undefined && title.height >= 12 && title.width > 20 && title.bottom <= item.bottom + 1,
        }
      }),
    )
  expect(items).toHaveLength(names.length)
  expect(new Set(items.map(({ face }) => face)).size).toBe(names.length)
  expect(items.every(({ isNamed }) => isNamed)).toBe(true)
  await ada.leave()
})

it('[NAV1] Back closes an open panel, menu or dialog before it leaves the page', async () => {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  const id = await user.createConversation('group', [], 'Analytical Engine')
  await user.send(id, 'hello')
  const ada = await arriveAs(user, phone)
  const { page } = ada
  await ada.open('Analytical Engine')
  const isStillOpen = () => hasOpened(page, 'Analytical Engine')

  await page.getByRole('button', { name: 'Details' }).click()
  await page.getByRole('complementary', { name: 'Details' }).waitFor()
  await waitForFact(() => page.evaluate(() => window.history.state?.layers === 1), { what: 'an entry for the panel' })
  await page.goBack()
  await page.getByRole('complementary', { name: 'Details' }).waitFor({ state: 'detached' })
  await isStillOpen()

  await ada.message('hello').first().locator('.bubble').click({ button: 'right' })
  await page.getByRole('menu').waitFor()
  // The dialog replaces the menu, and reuses the menu's entry in the browser history.
  await page.getByRole('menuitem', { name: 'Delete' }).click()
  await page.getByRole('dialog').waitFor()
  await waitForFact(() => page.evaluate(() => window.history.state?.layers === 1), { what: 'one entry' })
  await page.goBack()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await isStillOpen()

  // A dialog closed with Escape leaves no entry in the browser history.
  await page.getByRole('button', { name: 'Find', exact: true }).click()
  await page.getByRole('dialog').waitFor()
  await waitForFact(() => page.evaluate(() => window.history.state?.layers === 1), { what: 'an entry for the dialog' })
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await waitForFact(() => page.evaluate(() => (window.history.state?.layers ?? 0) === 0), { what: 'no entry' })
  await isStillOpen()
  await page.goBack()
  await ada.item('Analytical Engine').waitFor()
  ada.expectNoSurprises()
  await ada.leave()
})

it('[NAV1] a dialog that opens another conversation leaves no history entry', async () => {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  for (const name of ['First room', 'Second room']) await user.createConversation('group', [], name)
  const ada = await arriveAs(user, phone)
  const { page } = ada
  await ada.open('First room')
  await page.getByRole('button', { name: 'Find', exact: true }).click()
  await page.getByRole('combobox').fill('Second room')
  await page.getByRole('option').filter({ hasText: 'Second room' }).first().click()
  await hasOpened(page, 'Second room')
  await waitForFact(() => page.evaluate(() => (window.history.state?.layers ?? 0) === 0), { what: 'no entry' })
  await page.goBack()
  await hasOpened(page, 'First room')
  await ada.leave()
})

it('[NAV1] a browser that goes back slowly closes no new dialog and leaves no new conversation', async () => {
  const bob = await HttpUser.signUp(server.url, { name: 'Bob Builder', password })
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  await user.createConversation('group', [], 'Analytical Engine')
  const ada = await arriveAs(user, phone)
  const { page } = ada
  await ada.open('Analytical Engine')
  // Closing a dialog goes back in the history. On a busy machine this takes longer than the response
  // to a request, and longer than opening the next dialog.
  await page.evaluate(() => {
    const go = window.history.go.bind(window.history)
    window.history.go = (delta) => void setTimeout(() => go(delta), 500)
    window.addEventListener('popstate', () => document.documentElement.setAttribute('data-went-back', ''))
  })
  const find = page.getByRole('button', { name: 'Find', exact: true })
  await find.click()
  await waitForFact(() => page.evaluate(() => window.history.state?.layers === 1), { what: 'an entry for the dialog' })
  await page.keyboard.press('Escape')
  await find.click()
  await page.locator('html[data-went-back]').waitFor({ state: 'attached' })
  await waitForFact(() => page.evaluate(() => window.history.state?.layers === 1), { what: 'an entry again' })
  await page.getByRole('dialog').waitFor()
  await page.keyboard.press('Escape')
  await waitForFact(() => page.evaluate(() => (window.history.state?.layers ?? 0) === 0), { what: 'no entry' })
  await hasOpened(page, 'Analytical Engine')

  await page.goBack()
  await page.getByRole('button', { name: 'New conversation' }).first().click()
  await page.getByRole('combobox', { name: 'People' }).fill(bob.handle)
  await page.getByRole('option').filter({ hasText: bob.handle }).first().click()
  await waitForFact(() => page.evaluate(() => window.history.state?.layers === 1), { what: 'an entry for the dialog' })
  await page.getByRole('button', { name: /^Start/ }).click()
  await hasOpened(page, 'Bob Builder')
  await waitForFact(() => page.evaluate(() => (window.history.state?.layers ?? 0) === 0), { what: 'no entry' })
  await page.goBack()
  await ada.item('Bob Builder').waitFor()
  await ada.leave()
})

it('[NAV1] Alt and an arrow key keep the open conversation visible in the list', async () => {
  const user = await accountWithGroups()
  const ada = await arriveAs(user)
  const { page } = ada
  await ada.item('Group number').first().waitFor()
  for (let presses = 1; presses <= 26; presses += 1) await page.keyboard.press('Alt+ArrowDown')
  await hasOpened(page, `Group number ${groups - 25}`)
  await waitForFact(
    () =>
      page.evaluate(() => {
        const open = document.querySelector('.conversation-item[aria-current]')?.getBoundingClientRect()
        const list = document.querySelector('.sidebar-list')?.getBoundingClientRect()
        return open !== undefined && list !== undefined && open.top >= list.top - 1 && open.bottom <= list.bottom + 1
      }),
    { what: 'the open conversation in view' },
  )
  await ada.leave()
})

it('[NAV1] dropped and pasted files are blocked, and a notice explains it', async () => {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  await user.createConversation('group', [], 'Analytical Engine')
  const ada = await arriveAs(user)
  await ada.open('Analytical Engine')
  await ada.composer.fill('what I was writing')
  for (const [type, target] of [
    ['dragover', '.message-list'],
    ['drop', '.message-list'],
    ['drop', 'textarea'],
    ['paste', 'textarea'],
  ] as const) {
    const isPrevented = await ada.page
      .locator(target)
      .first()
      .evaluate((element, name) => {
        const data = new DataTransfer()
        data.items.add(new File(['x'], 'picture.png', { type: 'image/png' }))
        const event =
          name === 'paste'
            ? new ClipboardEvent(name, { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true })
        return !element.dispatchEvent(event)
      }, type)
    expect(isPrevented, `${type} on ${target}`).toBe(true)
  }
  await ada.page.getByText('Files can’t be sent here').waitFor()
  expect(await ada.composer.inputValue()).toBe('what I was writing')
  // A link dropped on the list would replace the page, so it is blocked. In a text field it is
  // inserted as text.
  for (const [target, isStopped] of [
    ['.message-list', true],
    ['textarea', false],
  ] as const) {
    const isPrevented = await ada.page
      .locator(target)
      .first()
      .evaluate((element) => {
        const data = new DataTransfer()
        data.setData('text/uri-list', 'https://example.org/')
        return !element.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))
      })
    expect(isPrevented, `a link on ${target}`).toBe(isStopped)
  }
  // Pasted text is not blocked.
  const isTextStopped = await ada.composer.evaluate((element) => {
    const data = new DataTransfer()
    data.setData('text/plain', 'words')
    return !element.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
  })
  expect(isTextStopped).toBe(false)
  await ada.leave()
})

it('[NAV1] a reload with an open panel leaves no history entry', async () => {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  await user.createConversation('group', [], 'Analytical Engine')
  const ada = await arriveAs(user, phone)
  const { page } = ada
  await ada.open('Analytical Engine')
  await page.getByRole('button', { name: 'Details' }).click()
  await waitForFact(() => page.evaluate(() => window.history.state?.layers === 1), { what: 'an entry for the panel' })
  await page.reload()
  await ada.composer.waitFor()
  await waitForFact(() => page.evaluate(() => (window.history.state?.layers ?? 0) === 0), { what: 'no entry' })
  await page.goBack()
  await ada.item('Analytical Engine').waitFor()
  await ada.leave()
})

it('[FIND1] Enter opens a search result from local data while offline', async () => {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  for (const name of ['First room', 'Second room']) await user.createConversation('group', [], name)
  const ada = await arriveAs(user)
  await ada.open('First room')
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('combobox').waitFor()
  await ada.context.setOffline(true)
  await ada.page.getByTestId('connection-banner').waitFor()
  await ada.page.getByRole('combobox').fill('second')
  await ada.page.keyboard.press('Enter')
  await hasOpened(ada.page, 'Second room')
  await ada.leave()
})

it('[STALE1] while offline, presence is unknown and an unsent message shows as pending', async () => {
  const [ada, bob] = await Promise.all([
    Person.signUp(browser, server.url, 'Ada Lovelace'),
    Person.signUp(browser, server.url, 'Bob Builder'),
  ])
  await ada.begin([bob])
  await ada.write('hello Bob')
  await ada.sees('hello Bob')
  const subtitle = ada.page.getByTestId('conversation-subtitle')
  await waitForFact(async () => (await subtitle.textContent()) === 'Online', { what: 'Bob online' })
  await ada.page.locator('.avatar-dot').first().waitFor()
  await ada.context.setOffline(true)
  await waitForFact(async () => (await subtitle.textContent())?.trim() === '', { what: 'nothing said about Bob' })
  expect(await ada.page.locator('.avatar-dot').count()).toBe(0)
  await ada.write('are you there')
  await ada.item('Bob Builder').getByText('You: are you there').waitFor()
  await ada.item('Bob Builder').getByRole('img', { name: 'Sending' }).waitFor()
  await ada.context.setOffline(false)
  await ada.sees('are you there')
  await ada.item('Bob Builder').getByRole('img', { name: 'Sending' }).waitFor({ state: 'detached' })
  await bob.open('Ada Lovelace')
  await bob.sees('are you there')
  await Promise.all([ada.leave(), bob.leave()])
})

it.each(['reduce', 'no-preference'] as const)(
  '[READ1] no element has a near-zero transition with reduced motion “%s”',
  async (reducedMotion) => {
    const ada = await Person.signUp(browser, server.url, 'Ada Lovelace', { reducedMotion })
    const durations = await ada.page.evaluate(() => [
      ...new Set(
        [...document.querySelectorAll('*')].flatMap((element) => {
          const style = getComputedStyle(element)
          return [...style.transitionDuration.split(', '), ...style.animationDuration.split(', ')]
        }),
      ),
    ])
    // A very short transition on every property would delay every change of the layout.
    const moments = durations.filter(
      (duration) => Number.parseFloat(duration) > 0 && Number.parseFloat(duration) < 0.05,
    )
    expect(moments).toEqual([])
    if (reducedMotion === 'reduce') expect(durations.filter((duration) => duration !== '0s')).toEqual([])
    await ada.leave()
  },
)

it.each([
  ['desktop', { viewport: { width: 1_280, height: 800 } }],
  ['phone', phone],
])('a new user joins a public channel with one click on %s size', async (_size, options) => {
  const owner = await HttpUser.signUp(server.url, { name: 'Owner', password })
  // The name sorts first, because the page offers only a few channels.
  const name = `00 Lobby ${owner.handle}`
  await owner.createConversation('channel', [], name)
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace', options)
  await ada.page.getByRole('button', { name: `Join ${name}` }).click()
  await hasOpened(ada.page, name)
  ada.expectNoSurprises()
  await ada.leave()
})
