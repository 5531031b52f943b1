/**
 * Accessibility of every screen of the web application: the checker axe finds no serious problem,
 * the keyboard alone suffices, and everything fits the width of a phone.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startChromium, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { startQuickServer } from '../quick-server.ts'
import { password, Person } from './person.ts'

let browser: Browser
let server: ServerProcess
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

beforeAll(async () => {
  ;[browser, server] = await Promise.all([startChromium(), startQuickServer({ env: { LIMIT_SIGN_INS_ADDRESS: '0' } })])
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

interface AxeResults {
  readonly violations: readonly {
    readonly id: string
    readonly impact: string | null
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[]
  }[]
}

async function expectAccessible(person: Person, screen: string): Promise<void> {
  // Wait for the end of all transitions, because axe would measure the colours in between. Endless
  // animations, such as a spinner, are skipped.
  await person.page.evaluate(async () => {
    const ending = document.getAnimations().filter((one) => Number.isFinite(one.effect?.getComputedTiming().endTime))
    await Promise.allSettled(ending.map(({ finished }) => finished))
  })
  // Evaluate the script of axe in the page. A script element would be blocked, because the page's
  // content security policy allows no foreign script.
  const { violations } = await person.page.evaluate<AxeResults>(
    `${axeSource}; axe.run(document, { resultTypes: ['violations'] })`,
  )
  const serious = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) =>
      [id, ...nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary ?? ''}`)].join('\n'),
    )
  expect(serious, screen).toEqual([])
}

const close = (person: Person) => person.page.keyboard.press('Escape')

it.each([
  ['light', { width: 1280, height: 800 }],
  ['dark', { width: 390, height: 844 }],
] as const)('axe finds no serious problem on any screen in %s mode at %o', async (colorScheme, viewport) => {
  const ada = await Person.arrive(browser, server.url, 'Ada Lovelace', { colorScheme, viewport })
  await expectAccessible(ada, 'sign in')
  await ada.page.getByLabel('Username').fill('nobody')
  await ada.page.getByLabel('Password').fill('a wrong password')
  await ada.page.getByRole('button', { name: 'Sign in' }).click()
  await ada.page.getByText('don’t match').waitFor()
  await expectAccessible(ada, 'sign in, refused')
  await ada.page.getByRole('button', { name: 'Create an account' }).click()
  await expectAccessible(ada, 'sign up')
  await ada.page.getByRole('button', { name: 'Sign in' }).click()
  await ada.signUpHere()
  await expectAccessible(ada, 'empty')

  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  await bob.begin([ada])
  for (const text of [
    'hello',
    '**bold** `code` https://example.com',
    '- one\n- two\n\n> quoted',
    '```js\nlet a = 1\n```',
  ])
    await bob.write(text)
  await bob.sees('let a = 1')
  await ada.item('Bob Builder').getByText('unread').waitFor()
  await expectAccessible(ada, 'the list with something unread')
  await ada.open('Bob Builder')
  await ada.sees('let a = 1')
  await ada.write('mine')
  await ada.sees('mine')
  await bob.message('mine').hover()
  await bob.message('mine').getByRole('button', { name: 'React with 👍' }).click()
  await ada.message('mine').getByRole('button', { name: '👍 1' }).waitFor()
  await expectAccessible(ada, 'a conversation')
  await ada.message('mine').locator('.bubble').click({ button: 'right' })
  await ada.page.getByRole('menu').waitFor()
  await expectAccessible(ada, 'the menu of a message')
  await ada.page.getByRole('menuitem', { name: 'Delete' }).click()
  await ada.page.getByRole('dialog').waitFor()
  await expectAccessible(ada, 'asked before a deletion')
  await close(ada)
  await ada.page.getByRole('dialog').waitFor({ state: 'detached' })
  // Escape closed only the dialog: the conversation is still open.
  expect(await ada.composer.isVisible()).toBe(true)
  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('combobox').fill('Bob')
  await ada.page.getByRole('option').first().waitFor()
  await expectAccessible(ada, 'find')
  await close(ada)
  await ada.context.setOffline(true)
  await ada.page.getByTestId('connection-banner').waitFor()
  await ada.write('waiting')
  await expectAccessible(ada, 'offline')
  await ada.context.setOffline(false)
  await ada.sees('waiting')
  await ada.page.goto('/settings')
  await ada.page.getByRole('region', { name: 'Profile' }).waitFor()
  await expectAccessible(ada, 'settings')
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('the keyboard alone suffices, from sign-up to a reply', async () => {
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  const ada = await Person.arrive(browser, server.url, 'Ada Lovelace')
  const { keyboard } = ada.page
  /** Presses Tab until the element with this name has the focus. */
  const tabTo = async (name: RegExp): Promise<void> => {
    for (let presses = 0; presses < 40; presses += 1) {
      const focused = await ada.page.evaluate(() => {
        const element = document.activeElement
        if (element === null || element === document.body) return ''
        const label = element.id === '' ? null : document.querySelector(`label[for="${CSS.escape(element.id)}"]`)
        return [element.getAttribute('aria-label'), label?.textContent, element.textContent].filter(Boolean).join(' ')
      })
      if (name.test(focused)) return
      await keyboard.press('Tab')
    }
    throw new Error(`unable to reach ${String(name)} by Tab`)
  }
  // Wait for the button first: Tab cannot reach an element that does not exist yet.
  await ada.page.getByText('Create an account').first().waitFor()
  await tabTo(/Create an account/)
  await keyboard.press('Enter')
  await ada.page.getByLabel('Your name').waitFor()
  for (const [label, text] of [
    [/Your name/, ada.name],
    [/Username/, ada.handle],
    [/Password/, password],
  ] as const) {
    await tabTo(label)
    await keyboard.type(text)
  }
  await keyboard.press('Enter')
  await ada.isIn()

  await keyboard.press('Control+k')
  await ada.page.getByRole('combobox').waitFor()
  await keyboard.type(bob.handle)
  await ada.page.getByRole('option').filter({ hasText: 'Bob Builder' }).first().waitFor()
  await keyboard.press('Enter')
  await ada.composer.waitFor()
  await waitForFact(() => ada.composer.evaluate((element) => element === document.activeElement), {
    what: 'the focus in the composer',
  })
  await keyboard.type('by keyboard')
  await keyboard.press('Enter')
  await ada.sees('by keyboard')
  await keyboard.press('ArrowUp')
  await waitForFact(async () => (await ada.composer.inputValue()) === 'by keyboard', { what: 'the text to edit' })
  await keyboard.type(' alone')
  await keyboard.press('Enter')
  await bob.open('Ada Lovelace')
  await bob.sees('by keyboard alone')
  await bob.write('an answer')
  await ada.sees('an answer')
  await keyboard.press('Shift+Tab')
  await waitForFact(() => ada.page.evaluate(() => document.activeElement?.closest('.message') !== null), {
    what: 'the focus on a message',
  })
  await keyboard.press('End')
  await waitForFact(
    () => ada.page.evaluate(() => document.activeElement?.textContent?.includes('an answer') === true),
    { what: 'the focus on the newest message' },
  )
  await keyboard.press('r')
  await waitForFact(() => ada.composer.evaluate((element) => element === document.activeElement), {
    what: 'the focus in the composer again',
  })
  await keyboard.type('a reply')
  await keyboard.press('Enter')
  await bob.sees('a reply')
  await bob.message('a reply').filter({ hasText: 'an answer' }).waitFor()
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('a phone shows one pane at a time, without horizontal overflow', async () => {
  const viewport = { width: 360, height: 740 }
  const ada = await Person.signUp(browser, server.url, 'Ada Lovelace', { viewport, hasTouch: true, isMobile: true })
  const bob = await Person.signUp(browser, server.url, 'Bob Builder')
  const expectNoOverflow = async (screen: string): Promise<void> => {
    const { wide, inner } = await ada.page.evaluate(() => ({
      wide: document.documentElement.scrollWidth,
      inner: window.innerWidth,
    }))
    expect(wide, screen).toBeLessThanOrEqual(inner)
  }
  await expectNoOverflow('the list')
  await ada.begin([bob])
  // On a phone, Enter adds a line, so press the Send button instead.
  const send = async (text: string): Promise<void> => {
    await ada.composer.fill(text)
    await ada.page.getByRole('button', { name: 'Send', exact: true }).click()
  }
  await send(`${'wide'.repeat(200)} https://example.com/${'long/'.repeat(60)}`)
  await send(`\`\`\`\n${'code '.repeat(200)}\n\`\`\`\n\n|${'a|'.repeat(40)}\n|${'-|'.repeat(40)}\n|${'b|'.repeat(40)}`)
  await send('from a phone')
  await ada.sees('from a phone')
  await expectNoOverflow('a conversation')
  expect(await ada.item('Bob Builder').isVisible()).toBe(false)
  await ada.page.getByRole('link', { name: 'Back to conversations' }).click()
  await ada.item('Bob Builder').waitFor()
  await ada.item('Bob Builder').tap()
  await ada.sees('from a phone')
  await bob.open('Ada Lovelace')
  await bob.sees('from a phone')
  ada.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})
