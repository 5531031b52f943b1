/**
 * Two people in two browsers use the everyday functions of the web application on one real server.
 */
import type { Browser } from 'playwright-core'
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

it('[CLI1] two people sign up and chat, and a reload keeps everything', async () => {
  const [ada, bob] = await Promise.all([
    Person.arrive(browser, server.url, 'Ada Lovelace'),
    Person.arrive(browser, server.url, 'Bob Builder'),
  ])
  await Promise.all([ada.signUpHere(), bob.signUpHere()])
  await ada.begin([bob])
  await ada.write('hello Bob')
  await ada.sees('hello Bob')

  // Bob has not opened the conversation: the list and the title of the page show it as unread.
  await bob.item('Ada Lovelace').getByText('1 unread').waitFor()
  await waitForFact(async () => (await bob.page.title()).startsWith('(1)'), { what: 'the count in the title' })
  await bob.open('Ada Lovelace')
  await bob.sees('hello Bob')
  await waitForFact(async () => !(await bob.page.title()).startsWith('('), { what: 'a title without a count' })
  await waitForFact(async () => (await ada.stateOf('hello Bob')) === 'read', { what: 'the read mark' })
  await ada.page.getByText('online').first().waitFor({ state: 'attached' })

  await bob.composer.pressSequentially('hello A')
  await ada.page.locator('.typing-text').first().waitFor()
  await bob.composer.pressSequentially('da')
  await bob.composer.press('Enter')
  await ada.sees('hello Ada')
  await ada.page.locator('.typing-text').first().waitFor({ state: 'detached' })

  for (let count = 0; count < 10; count += 1) await (count % 2 === 0 ? ada : bob).write(`line ${count}`)
  await ada.sees('line 9')
  await bob.sees('line 8')
  await ada.sees('line 8')
  const before = await ada.texts()
  expect(before).toHaveLength(12)
  await ada.page.reload()
  await ada.sees('line 9')
  await waitForFact(async () => (await ada.texts()).length === before.length, { what: 'all messages again' })
  expect(await ada.texts()).toEqual(before)

  ada.expectNoSurprises()
  bob.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it("[CLI1] replies, reactions, edits and deletions reach the other person's browser", async () => {
  const [ada, bob] = await twoPeople()
  await ada.begin([bob])
  await ada.write('the first')
  await ada.write('the second')
  await ada.sees('the second')
  await bob.open('Ada Lovelace')
  await bob.sees('the second')

  await bob.choose('the first', 'Reply')
  await bob.write('an answer to it')
  await ada.message('an answer to it').filter({ hasText: 'the first' }).waitFor()

  await bob.message('the second').hover()
  await bob.message('the second').getByRole('button', { name: 'React with 👍' }).click()
  await ada.message('the second').getByRole('button', { name: '👍 1' }).click()
  await bob.message('the second').getByRole('button', { name: '👍 2' }).waitFor()
  await ada.message('the second').getByRole('button', { name: '👍 2' }).click()
  await bob.message('the second').getByRole('button', { name: '👍 1' }).waitFor()

  await ada.choose('the second', 'Edit')
  await ada.composer.fill('the second, corrected')
  await ada.composer.press('Enter')
  await bob.message('the second, corrected').getByText('edited').waitFor()

  await ada.choose('the second, corrected', 'Delete')
  await ada.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await bob.message('Message deleted').waitFor()
  expect(await bob.message('the second').count()).toBe(0)

  ada.expectNoSurprises()
  bob.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})

it('[ACL4] groups and channels are created, found with Ctrl-K and joined', async () => {
  const [ada, bob] = await twoPeople()
  const carol = await Person.signUp(browser, server.url, 'Carol Shaw')
  await ada.begin([bob, carol], 'Analytical Engine')
  await ada.write('hello all')
  await bob.open('Analytical Engine')
  await bob.sees('hello all')
  await carol.open('Analytical Engine')
  await carol.write('hello Ada')
  await bob.sees('hello Ada')

  const channel = `general ${ada.handle}`
  await ada.page.getByRole('button', { name: 'New conversation' }).first().click()
  await ada.page.getByRole('radio', { name: 'Channel' }).click()
  await ada.page.getByLabel('Channel name').fill(channel)
  await ada.page.getByRole('button', { name: 'Create channel' }).click()
  await ada.page.getByRole('region', { name: `Conversation: ${channel}` }).waitFor()
  await ada.write('before Bob joined')
  await ada.sees('before Bob joined')

  await bob.page.keyboard.press('Control+k')
  await bob.page.getByRole('combobox').fill(channel)
  await bob.page.getByRole('option').filter({ hasText: channel }).first().click()
  // A channel that the user has not joined shows a Join button first.
  const join = bob.page.getByRole('button', { name: /^Join/ })
  await join.or(bob.composer).first().waitFor()
  if (await join.isVisible()) await join.click()
  await bob.sees('before Bob joined')
  await bob.write('after I joined')
  await ada.sees('after I joined')

  await ada.page.keyboard.press('Control+k')
  await ada.page.getByRole('combobox').fill('Bob')
  await ada.page.getByRole('option').filter({ hasText: 'Bob Builder' }).first().click()
  await ada.page.getByRole('region', { name: /^Conversation: (Bob Builder|Analytical Engine)/ }).waitFor()

  for (const person of [ada, bob, carol]) {
    person.expectNoSurprises()
    await person.leave()
  }
})

it('[CLI1] [ACL2] two tabs of one user show the same, and sign out together', async () => {
  const [ada, bob] = await twoPeople()
  await ada.begin([bob])
  await ada.write('in the first tab')
  await ada.sees('in the first tab')
  const first = ada.page
  const second = await ada.context.newPage()
  await second.goto(first.url())
  ada.page = second
  await ada.sees('in the first tab')
  await ada.write('in the second tab')
  await ada.sees('in the second tab')
  ada.page = first
  await ada.sees('in the second tab')
  await bob.open('Ada Lovelace')
  await bob.sees('in the second tab')
  await waitForFact(async () => (await bob.texts()).length === 2, { what: 'each message once' })

  await first.getByRole('button', { name: 'Account: Ada Lovelace' }).click()
  await first.getByRole('menuitem', { name: 'Sign out' }).click()
  const confirm = first.getByRole('dialog').getByRole('button', { name: /Sign out/ })
  const welcome = first.getByRole('button', { name: 'Sign in' })
  await confirm.or(welcome).first().waitFor()
  if (await confirm.isVisible()) await confirm.click()
  await welcome.waitFor()
  await second.getByRole('button', { name: 'Sign in' }).waitFor()
  expect(await first.getByText('in the first tab').count()).toBe(0)
  await ada.signIn()
  await ada.open('Bob Builder')
  await ada.sees('in the second tab')
  ada.expectNoSurprises()
  bob.expectNoSurprises()
  await Promise.all([ada.leave(), bob.leave()])
})
