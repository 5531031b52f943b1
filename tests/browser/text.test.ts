/**
 * Display of text written by users: it stays inside its bubble, every character is visible, and no
 * text blocks the browser.
 */
import { randomUUID } from 'node:crypto'
import type { Browser } from 'playwright-core'
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
    startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } }),
  ])
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

/** Creates a reader in a browser, a writer over HTTP, and a conversation between them. */
async function createPair() {
  const reader = await Person.signUp(browser, server.url, 'A Reader')
  const { id } = await HttpUser.signIn(server.url, reader.handle, password)
  const writer = await HttpUser.signUp(server.url, { name: 'A Writer' })
  const conversation = await writer.createConversation('direct', [id])
  await reader.page.goto(`/c/${conversation}`)
  await reader.composer.waitFor()
  return { reader, writer, conversation }
}

it('[APP2] every text is shown inside its bubble, and no bubble is empty', async () => {
  const { reader, writer, conversation } = await createPair()
  const texts = [
    '[ERROR]: timeout',
    'meet 3~4pm or 5~6pm',
    '1986. A great year',
    'array[0](x)',
    '<!-- a comment -->',
    '#',
    '```hello',
    'C:\\temp\\*',
    '2*3*4=24',
  ]
  for (const text of texts) {
    await writer.send(conversation, text)
    await reader.sees(text)
    const bubble = reader.message(text).last().locator('.bubble')
    await waitForFact(async () => (await bubble.innerText()).trim() === text, { what: `${text} in its bubble` })
    // The drawn text lies between the left and the right edge of its bubble.
    const isInside = await bubble.evaluate((element) => {
      const range = document.createRange()
      range.selectNodeContents(element)
      const [inner, outer] = [range.getBoundingClientRect(), element.getBoundingClientRect()]
      return inner.left >= outer.left && inner.right <= outer.right && inner.width > 0
    })
    expect(isInside, text).toBe(true)
  }
  await writer.send(conversation, '请看（https://example.org/a）谢谢')
  await reader.sees('谢谢')
  expect(await reader.message('谢谢').getByRole('link').getAttribute('href')).toBe('https://example.org/a')
  await writer.expect(201, 'POST', `/v1/conversations/${conversation}/messages`, {
    clientId: randomUUID(),
    text: '',
    data: { ride: 7 },
  })
  await reader.sees('Content this app can’t show')
  await reader.message('Content this app can’t show').getByText('ride', { exact: true }).waitFor()
  reader.expectNoSurprises()
  await reader.leave()
})

it('[APP2] text built to block the parser is shown as plain text', async () => {
  const { reader, writer, conversation } = await createPair()
  const texts = [`https://a.example/${')'.repeat(19_000)}。`, '> '.repeat(9_000), '*a **b '.repeat(2_400)]
  for (const [index, text] of texts.entries()) {
    await writer.send(conversation, text)
    await writer.send(conversation, `barrier ${index}`)
    await reader.sees(`barrier ${index}`)
  }
  await reader.write('and on we go')
  await reader.sees('and on we go')
  reader.expectNoSurprises()
  await reader.leave()
})
