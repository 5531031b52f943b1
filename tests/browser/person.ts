/**
 * A user of the web application in a real browser. Finds elements by their roles and names, as
 * people and screen readers do. Records events that must never happen: errors in the page, dialogs
 * of the browser, and requests to other hosts.
 */
import { randomUUID } from 'node:crypto'
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { expect, onTestFailed, TestRunner } from 'vitest'
import { HttpUser, patienceMs, waitForFact } from '@chorus/testkit'

export const password = 'a long enough password'
const pageTextMaxChars = 600

const makeHandle = (): string => `p${randomUUID().slice(0, 8)}`

/** Creates an account with the sign-up form of the first page. */
export async function signUpAt(page: Page, name: string, handle: string): Promise<void> {
  await page.getByRole('button', { name: 'Create an account' }).click()
  await page.getByLabel('Your name').fill(name)
  await page.getByLabel('Username').fill(handle)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Create account' }).click()
  await isSignedIn(page, name)
}

/** Waits until the page shows that this user is signed in. */
export async function isSignedIn(page: Page, name: string): Promise<void> {
  await page
    .getByRole('button', { name: `Account: ${name}` })
    .first()
    .waitFor()
}

export class Person {
  readonly name: string
  readonly handle: string
  readonly context: BrowserContext
  page: Page
  /** Errors, dialogs and requests to other hosts, collected from all pages of this user. */
  readonly surprises: string[] = []

  private constructor(context: BrowserContext, page: Page, name: string, handle: string) {
    this.context = context
    this.page = page
    this.name = name
    this.handle = handle
  }

  /** Opens the first page in a new browser profile without a session. */
  static async arrive(
    browser: Browser,
    url: string,
    name: string,
    options: BrowserContextOptions & { handle?: string } = {},
  ): Promise<Person> {
    const person = await Person.#openProfile(browser, url, name, options)
    await person.page.goto('/')
    return person
  }

  static async #openProfile(
    browser: Browser,
    url: string,
    name: string,
    { handle = makeHandle(), ...options }: BrowserContextOptions & { handle?: string },
  ): Promise<Person> {
    const context = await browser.newContext({ baseURL: url, reducedMotion: 'reduce', locale: 'en-GB', ...options })
    context.setDefaultTimeout(patienceMs)
    const page = await context.newPage()
    const person = new Person(context, page, name, handle)
    if (TestRunner.getCurrentTest() !== undefined) onTestFailed(({ task }) => person.#explain(task.result?.errors?.[0]))
    context.on('page', (opened) => person.#watch(opened))
    context.on('request', (request) => {
      const { protocol, host } = new URL(request.url())
      if (/^(https?|wss?):$/.test(protocol) && host !== new URL(url).host)
        person.surprises.push(`request to ${request.url()}`)
    })
    person.#watch(page)
    return person
  }

  /** Opens the application in a new browser profile with the session of an existing account. */
  static async arriveSignedIn(
    browser: Browser,
    url: string,
    user: HttpUser,
    { name, ...options }: BrowserContextOptions & { readonly name: string },
  ): Promise<Person> {
    const person = await Person.#openProfile(browser, url, name, { ...options, handle: user.handle })
    const [cookieName = '', value = ''] = (user.cookie ?? '').split('=', 2)
    await person.context.addCookies([{ name: cookieName, value, url, httpOnly: true, sameSite: 'Lax' }])
    await person.page.goto('/')
    await person.isIn()
    return person
  }

  /**
   * Creates an account over HTTP and opens it in a new browser profile. This saves the second that
   * the sign-up form takes; other tests cover the form.
   */
  static async signUp(
    browser: Browser,
    url: string,
    name: string,
    options: BrowserContextOptions = {},
  ): Promise<Person> {
    const user = await HttpUser.signUp(url, { name, password, handle: makeHandle() })
    return Person.arriveSignedIn(browser, url, user, { ...options, name })
  }

  /** Adds what the page shows to the error of a failed test. */
  async #explain(error: { message: string; stack?: string } | undefined): Promise<void> {
    if (error === undefined) return
    const text = await this.page
      .evaluate(() => `${window.location.pathname}: ${document.body.innerText}`)
      .catch((unreadable: unknown) => String(unreadable))
    const shown = `${this.name} sees ${text.replaceAll(/\s+/g, ' ').slice(0, pageTextMaxChars)}`
    error.message += `\n${shown}`
    error.stack = `${error.stack ?? ''}\n${[shown, ...this.surprises].join('\n')}`
  }

  #watch(page: Page): void {
    page.on('pageerror', (error) => this.surprises.push(`error ${error.message}`))
    page.on('dialog', (dialog) => {
      this.surprises.push(`dialog ${dialog.message()}`)
      void dialog.dismiss()
    })
  }

  async signUpHere(): Promise<void> {
    await signUpAt(this.page, this.name, this.handle)
  }

  async signIn(): Promise<void> {
    await this.page.getByLabel('Username').fill(this.handle)
    await this.page.getByLabel('Password').fill(password)
    await this.page.getByRole('button', { name: 'Sign in' }).click()
    await this.isIn()
  }

  async isIn(): Promise<void> {
    await isSignedIn(this.page, this.name)
  }

  /** Starts a direct conversation, or a group with several people. */
  async begin(others: readonly Person[], groupName?: string): Promise<void> {
    const { page } = this
    await page.getByRole('button', { name: 'New conversation' }).first().click()
    const field = page.getByRole('combobox', { name: 'People' })
    for (const other of others) {
      await field.fill(other.handle)
      await page.getByRole('option').filter({ hasText: other.handle }).first().click()
    }
    if (groupName !== undefined) await page.getByLabel('Group name (optional)').fill(groupName)
    await page.getByRole('button', { name: /^Start/ }).click()
    await this.composer.waitFor()
  }

  /** Opens the conversation with this title from the conversation list. */
  async open(title: string): Promise<void> {
    await this.item(title).click()
    await this.page.getByRole('region', { name: `Conversation: ${title}` }).waitFor()
    await this.composer.waitFor()
  }

  item(title: string): Locator {
    return this.page.getByRole('navigation', { name: 'Conversations' }).getByRole('link').filter({ hasText: title })
  }

  get composer(): Locator {
    return this.page.locator('textarea.composer-text')
  }

  async write(text: string): Promise<void> {
    await this.composer.fill(text)
    await this.composer.press('Enter')
  }

  message(text: string): Locator {
    return this.page.getByTestId('message').filter({ hasText: text })
  }

  /** Waits until the page shows a message. A message of this user must also be stored. */
  async sees(text: string): Promise<void> {
    const toEnd = this.page.getByTestId('to-end')
    await waitForFact(
      async () => {
        const state = await this.page.getByTestId('message').evaluateAll((messages, wanted) => {
          const found = messages.find((message) => message.textContent?.includes(wanted) === true)
          return found?.getAttribute('data-state') ?? undefined
        }, text)
        if (state !== undefined) return state !== 'sending' && state !== 'failed'
        // If the message list is scrolled up, a button shows the number of new messages: press it.
        if (await toEnd.isVisible()) await toEnd.click({ timeout: 1_000 })
        return false
      },
      { what: `the message ${text}, stored`, everyMs: 50 },
    )
  }

  stateOf(text: string): Promise<string | null> {
    return this.message(text).first().getAttribute('data-state')
  }

  /**
   * Returns the texts of the messages in the page, in order, including rows whose layout is not
   * finished.
   */
  async texts(): Promise<string[]> {
    const texts = await this.page.getByTestId('message').locator('.message-text').allTextContents()
    return texts.map((text) => text.trim())
  }

  /** Opens the menu of a message and chooses an action in it. */
  async choose(text: string, action: string): Promise<void> {
    await this.message(text).first().locator('.bubble').click({ button: 'right' })
    await this.page.getByRole('menu').getByRole('menuitem', { name: action }).click()
  }

  expectNoSurprises(): void {
    expect(this.surprises).toEqual([])
  }

  async leave(): Promise<void> {
    await this.context.close()
  }
}
