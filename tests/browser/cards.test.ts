/**
 * Cards in the web application, with a real server: two members act, the integrator changes the
 * card, and cards that the server did not sign are plain blocks without buttons.
 */
import { randomUUID } from 'node:crypto'
import { createApiKey, HttpUser, startChromium, type CreatedKey, type ServerProcess } from '@chorus/testkit'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'
import { password, Person } from './person.ts'

let browser: Browser
let server: ServerProcess
let key: CreatedKey

beforeAll(async () => {
  ;[browser, server] = await Promise.all([
    startChromium(),
    startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } }),
  ])
  key = await createApiKey(server.database)
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

const offer = {
  type: 'offer',
  title: 'Blue shoes',
  fields: { Size: '42', Price: '30 €' },
  actions: [
    { id: 'accept', label: 'Accept' },
    { id: 'decline', label: 'Decline' },
  ],
  state: 'open',
}

interface Answer {
  readonly message: { readonly seq: number }
}

/** Calls the server API with the key of the integrator. */
async function callAdmin(method: string, path: string, body: object): Promise<Answer> {
  const response = await fetch(`${server.url}/v1/admin${path}`, {
    method,
    headers: { authorization: `Bearer ${key.secret}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Answer
}

async function postCard(conversation: string, card: object = offer): Promise<number> {
  const path = `/conversations/${conversation}/messages`
  return (await callAdmin('POST', path, { clientId: randomUUID(), card })).message.seq
}

const updateCard = (conversation: string, seq: number, change: object): Promise<Answer> =>
  callAdmin('PATCH', `/conversations/${conversation}/messages/${seq}/card`, change)

/** Creates a public channel and its members, each with a page that is not open yet. */
async function createShop(names: readonly string[]) {
  const people = await Promise.all(names.map((name) => Person.signUp(browser, server.url, name)))
  const users = await Promise.all(people.map(({ handle }) => HttpUser.signIn(server.url, handle, password)))
  const [owner] = users
  const conversation = await owner!.createConversation(
    'channel',
    users.slice(1).map(({ id }) => id),
    'Shoe shop',
  )
  return { people, users, conversation }
}

const cardOf = (page: Page, title = 'Blue shoes') => page.getByRole('region', { name: `Card: ${title}` })
const buttonsOf = (page: Page) => cardOf(page).getByRole('button')

/** Holds back the acts that the server sends to a page, as a slow network does. */
async function holdActs(page: Page): Promise<void> {
  await page.routeWebSocket(/socket\.io/, (socket) => {
    const toServer = socket.connectToServer()
    socket.onMessage((frame) => toServer.send(frame))
    toServer.onMessage((frame) => {
      if (!frame.toString().includes('card.acted')) socket.send(frame)
    })
  })
}

it('[CARD1] shows the first act to both members and refuses the second', async () => {
  const { people, conversation } = await createShop(['Ada Lovelace', 'Bob Bobbin'])
  const [ada, bob] = people as [Person, Person]
  const seq = await postCard(conversation)
  await holdActs(bob.page)
  for (const { page } of people) {
    await page.goto(`/c/${conversation}`)
    await cardOf(page).getByText('30 €').waitFor()
    expect(await buttonsOf(page).allInnerTexts()).toEqual(['Accept', 'Decline'])
  }
  // The keyboard reaches the buttons from the message.
  await ada.page
    .getByTestId('message')
    .filter({ has: cardOf(ada.page) })
    .focus()
  await ada.page.keyboard.press('ArrowRight')
  await ada.page.keyboard.press('Enter')
  await cardOf(ada.page).getByText('You chose Accept').waitFor()
  expect(await buttonsOf(ada.page).count()).toBe(0)
  expect(await buttonsOf(bob.page).count()).toBe(2)
  await cardOf(bob.page).getByRole('button', { name: 'Decline' }).click()
  await cardOf(bob.page).getByText('Someone else was first.').waitFor()
  await cardOf(bob.page).getByText('Ada Lovelace chose Accept').waitFor()
  expect(await buttonsOf(bob.page).count()).toBe(0)
  await updateCard(conversation, seq, {
    version: 1,
    state: 'awaiting-payment',
    actions: [{ id: 'pay', label: 'Pay 30 €' }],
  })
  for (const { page } of people) await cardOf(page).getByRole('button', { name: 'Pay 30 €' }).waitFor()
  await updateCard(conversation, seq, { version: 2, state: 'paid', actions: [] })
  for (const person of people) {
    await cardOf(person.page).getByText('Paid', { exact: true }).waitFor()
    expect(await buttonsOf(person.page).count()).toBe(0)
    await person.item('Shoe shop').getByText('Blue shoes').waitFor()
    person.expectNoSurprises()
    await person.leave()
  }
})

it('[CARD1] offers an action only to the users it is for', async () => {
  const { people, conversation } = await createShop(['Cleo Clever'])
  const [cleo] = people as [Person]
  await callAdmin('PUT', '/users/seller-1', { name: 'Sam Seller' })
  await postCard(conversation, { ...offer, actions: [{ id: 'ship', label: 'Ship', by: ['seller-1'] }] })
  await cleo.page.goto(`/c/${conversation}`)
  await cardOf(cleo.page).getByText('Waiting for Sam Seller').waitFor()
  expect(await buttonsOf(cleo.page).count()).toBe(0)
  cleo.expectNoSurprises()
  await cleo.leave()
})

it('[CARD2] shows cards that the server did not sign as plain blocks', async () => {
  const { people, users, conversation } = await createShop(['Dora Doubt'])
  const [dora] = people as [Person]
  await postCard(conversation)
  await users[0]!.expect(201, 'POST', `/v1/conversations/${conversation}/messages`, {
    clientId: randomUUID(),
    text: '',
    data: { ...offer, title: 'Gold shoes' },
  })
  // The keys that this page reads are not those that signed the card.
  await dora.page.route('**/v1/keys', async (route) => {
    const response = await route.fetch()
    const { keys } = (await response.json()) as { keys: { x: string }[] }
    const x = Buffer.alloc(32, 7).toString('base64url')
    await route.fulfill({ response, json: { keys: keys.map((one) => ({ ...one, x })) } })
  })
  await dora.page.goto(`/c/${conversation}`)
  const refused = dora.page.getByRole('region', { name: 'Card whose origin is not proven' })
  await refused.getByText('Where this comes from isn’t proven').waitFor()
  expect(await refused.getByRole('definition').allInnerTexts()).toEqual(['Blue shoes', 'Open', '42', '30 €'])
  const data = dora.page.getByTestId('message').filter({ hasText: 'Gold shoes' })
  await data.getByText('Where this comes from isn’t proven').waitFor()
  expect(await dora.page.getByRole('button', { name: 'Accept' }).count()).toBe(0)
  expect(await cardOf(dora.page).count()).toBe(0)
  dora.expectNoSurprises()
  await dora.leave()
})
