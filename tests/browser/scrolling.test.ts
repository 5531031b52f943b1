/**
 * The scroll position of the message list in a real browser (rule READ1). The list either stays at
 * its end while messages arrive, or the line being read moves by at most one line height. All
 * positions come from the layout, with motion and without, in the sizes of a desktop, a tablet and
 * a phone. The last test plays random steps: `SCROLL_SEEDS=1,2,3` chooses the seeds, and
 * `SCROLL_STEPS=60` plays more steps.
 */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HttpUser, startChromium, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { startQuickServer } from '../quick-server.ts'
import { password, Person } from './person.ts'

let browser: Browser
let server: ServerProcess
let bob: HttpUser

beforeAll(async () => {
  ;[browser, server] = await Promise.all([
    startChromium(),
    startQuickServer({
      env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_CONNECTIONS: '0', LIMIT_SIGN_INS_ADDRESS: '0' },
    }),
  ])
  bob = await HttpUser.signUp(server.url, { name: 'Bob Builder' })
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

const lineHeightPx = 22
const desktop = { width: 1280, height: 800 }
const tablet = { width: 820, height: 1180 }
const phone = { width: 390, height: 844 }

const looks = [
  ['a desktop with motion', { viewport: desktop, reducedMotion: 'no-preference' }],
  ['a phone with reduced motion', { viewport: phone, reducedMotion: 'reduce', hasTouch: true, isMobile: true }],
] as const satisfies readonly (readonly [string, BrowserContextOptions])[]

/** A conversation of Ada and Bob. Ada uses a browser, Bob sends over HTTP. */
interface Room {
  readonly ada: Person
  /** Ada's account, for requests over HTTP. */
  readonly user: HttpUser
  readonly id: string
  readonly url: string
}

async function openRoom(options: BrowserContextOptions, messages: number): Promise<Room> {
  const { id, user } = await makeRoom(messages)
  const ada = await arriveAs(user, options)
  const room = { ada, user, id, url: `/c/${id}` }
  await goTo(room)
  return room
}

function arriveAs(user: HttpUser, options: BrowserContextOptions): Promise<Person> {
  return Person.arriveSignedIn(browser, server.url, user, { ...options, name: 'Ada Lovelace' })
}

/** Creates Ada's account, and a conversation in which she has read all messages of Bob. */
async function makeRoom(
  messages: number,
): Promise<{ readonly id: string; readonly handle: string; readonly user: HttpUser }> {
  const user = await HttpUser.signUp(server.url, { name: 'Ada Lovelace', password })
  const id = await bob.createConversation('group', [user.id], 'Analytical Engine')
  const last = await write(id, messages, 'old')
  if (last > 0) await user.expect([200, 204], 'PUT', `/v1/conversations/${id}/read`, { seq: last })
  return { id, handle: user.handle, user }
}

/** Sends messages of Bob. The length of a text depends only on its number. Returns the last seq. */
async function write(id: string, count: number, name: string): Promise<number> {
  let last = 0
  for (let index = 1; index <= count; index += 1) last = (await bob.send(id, textOf(name, index))).seq
  return last
}

function textOf(name: string, index: number): string {
  const words = 1 + ((index * 7919) % 40)
  return `${name} ${index} ${'lorem ipsum '.repeat(words).trim()}`
}

async function goTo({ ada, url }: Room): Promise<void> {
  await ada.page.goto(url)
  await ada.composer.waitFor()
  await settled(ada.page)
}

/**
 * Visible state of the message list. Positions of rows are from the top of the window. `lineTop` is
 * the position of the unread line from the top of the list.
 */
interface Layout {
  readonly top: number
  readonly bottom: number
  /** Distance between the visible part of the list and its end, in pixels. */
  readonly gap: number
  readonly isLastShown: boolean
  readonly scrollTop: number
  readonly scrollHeight: number
  readonly rows: readonly {
    readonly key: string
    readonly seq: number
    readonly text: string
    readonly top: number
    readonly bottom: number
  }[]
  readonly lineTop: number | undefined
  readonly hasToEnd: boolean
}

function readLayout(page: Page): Promise<Layout | undefined> {
  return page.evaluate(() => {
    const scroller = document.querySelector('.message-scroller')
    if (scroller === null) return undefined
    const frame = scroller.getBoundingClientRect()
    const line = document.querySelector('.unread-line')
    const rows = [...scroller.querySelectorAll<HTMLElement>('[data-row]')].map((row) => {
      const rect = row.getBoundingClientRect()
      return {
        key: row.dataset['row'] ?? '',
        seq: Number(row.dataset['seq'] ?? 0),
        text: row.querySelector('.message-text')?.textContent ?? '',
        top: rect.top,
        bottom: rect.bottom,
      }
    })
    const gap = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight
    return {
      top: frame.top,
      bottom: frame.bottom,
      gap,
      isLastShown: gap < 60,
      scrollTop: scroller.scrollTop,
      scrollHeight: scroller.scrollHeight,
      rows,
      lineTop: line === null ? undefined : line.getBoundingClientRect().top - frame.top,
      hasToEnd: document.querySelector('[data-testid=to-end]') !== null,
    }
  })
}

/** Waits until the message list shows rows and its layout no longer changes. */
async function settled(page: Page): Promise<Layout> {
  let before = ''
  return waitForFact(
    async () => {
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
      const layout = await readLayout(page)
      const now = JSON.stringify(layout)
      const isSame = now === before
      before = now
      return isSame && layout !== undefined && layout.rows.length > 0 ? layout : undefined
    },
    { what: 'a layout that stands still' },
  )
}

function rowWith(layout: Layout, text: string): Layout['rows'][number] | undefined {
  return layout.rows.find((row) => row.text.startsWith(text))
}

/** Returns the row being read: the first row whose top is on the screen. */
function readRow(layout: Layout): Layout['rows'][number] {
  const row = layout.rows.find(({ top }) => top >= layout.top - 1 && top < layout.bottom)
  if (row === undefined) throw new Error('unable to find a row that begins on the screen')
  return row
}

async function scrollBy(page: Page, byPx: number): Promise<Layout> {
  await page.locator('.message-scroller').evaluate((scroller, by) => {
    scroller.scrollTop += by
  }, byPx)
  return settled(page)
}

async function isInPage(page: Page, text: string): Promise<void> {
  await waitForFact(
    () => page.evaluate((wanted) => document.querySelector('.message-list')?.textContent?.includes(wanted), text),
    {
      what: `“${text}” in the page`,
    },
  )
}

function expectSamePlace(before: Layout, after: Layout, step: string): void {
  const row = readRow(before)
  const now = after.rows.find(({ key }) => key === row.key)
  expect(now, `${step}: the row being read is in the page`).toBeDefined()
  expect(Math.abs((now?.top ?? 0) - row.top), `${step}: moved by`).toBeLessThanOrEqual(lineHeightPx)
}

describe.each(looks)('the message list on %s', (_look, options) => {
  it('[READ1] the message list stays at its end while messages arrive', async () => {
    const room = await openRoom(options, 30)
    const { page } = room.ada
    for (let round = 1; round <= 6; round += 1) {
      await write(room.id, 4, `round ${round}`)
      await isInPage(page, `round ${round} 4`)
      const layout = await settled(page)
      expect(layout.gap, `round ${round}`).toBeLessThanOrEqual(1)
      expect(layout.hasToEnd).toBe(false)
    }
    await room.ada.leave()
  })

  it("[READ1] the user's own message is shown at once, also when the list is scrolled up", async () => {
    const room = await openRoom(options, 150)
    const { ada } = room
    await ada.page.goto(`${room.url}/30`)
    await waitForFact(async () => (await readLayout(ada.page))?.rows.some(({ seq }) => seq === 30), { what: 'seq 30' })
    await settled(ada.page)
    await ada.composer.fill('my own message')
    await ada.page.getByRole('button', { name: 'Send', exact: true }).click()
    await ada.sees('my own message')
    const layout = await settled(ada.page)
    const row = rowWith(layout, 'my own message')
    expect(row?.bottom).toBeLessThanOrEqual(layout.bottom)
    expect(layout.gap).toBeLessThanOrEqual(1)
    await ada.page.getByRole('button', { name: 'Back to where you were' }).click()
    await waitForFact(async () => (await readLayout(ada.page))?.rows.some(({ seq }) => seq === 30), {
      what: 'seq 30 again',
    })
    await ada.leave()
  })

  it.each([3, 60, 150])('[READ1] the list opens at the unread line with %i unread messages', async (unread) => {
    const { id, user } = await makeRoom(40)
    await write(id, unread, 'new')
    const ada = await arriveAs(user, options)
    await ada.open('Analytical Engine')
    await isInPage(ada.page, 'new 1 ')
    expectUnreadLine(await settled(ada.page), unread)
    await ada.leave()
  })

  it('[READ1] the list finds the unread line although the local data is outdated', async () => {
    const room = await openRoom(options, 40)
    const { ada } = room
    const address = ada.page.url()
    for (const [round, unread] of [60, 150].entries()) {
      await ada.page.goto('about:blank')
      const name = `round ${round}`
      await write(room.id, unread, name)
      await ada.page.goto(address)
      await isInPage(ada.page, `${name} 1 `)
      const layout = await settled(ada.page)
      expectUnreadLine(layout, unread, name)
      await ada.page.getByTestId('to-end').click()
      await isInPage(ada.page, `${name} ${unread} `)
      await waitForFact(async () => ((await readLayout(ada.page))?.gap ?? 99) <= 1, { what: 'the end' })
      await waitForFact(async () => (await unreadOf(room.user, room.id)) === 0, { what: 'the read marker at the end' })
    }
    await ada.leave()
  })

  it('[READ1] a list whose last row is visible counts as scrolled to its end', async () => {
    const { id, user } = await makeRoom(3)
    await write(id, 1, 'new')
    const ada = await arriveAs(user, options)
    await ada.open('Analytical Engine')
    await isInPage(ada.page, 'new 1')
    await settled(ada.page)
    await write(id, 20, 'more')
    await isInPage(ada.page, 'more 20')
    const layout = await settled(ada.page)
    expect(layout.gap).toBeLessThanOrEqual(1)
    await waitForFact(async () => (await unreadOf(user, id)) === 0, { what: 'nothing unread' })
    await ada.leave()
  })

  it('[READ1] the line being read keeps its place when messages above it change', async () => {
    const room = await openRoom(options, 90)
    const { page } = room.ada
    const before = await scrollBy(page, -1_500)
    const target = before.rows[0]?.seq ?? 0
    const older = target - 2
    for (const [what, method, path, body] of [
      ['an edit', 'PATCH', `messages/${target}`, { text: 'edited and long '.repeat(60) }],
      ['an edit of a row that is not in the page', 'PATCH', `messages/${older}`, { text: 'also long '.repeat(60) }],
      ['a reaction', 'PUT', `messages/${target}/reactions/${encodeURIComponent('👍')}`, undefined],
      ['a deletion', 'DELETE', `messages/${target}`, undefined],
      ['another deletion', 'DELETE', `messages/${older}`, undefined],
    ] as const) {
      const start = await settled(page)
      await bob.expect([200, 201, 204], method, `/v1/conversations/${room.id}/${path}`, body)
      // Send a message after the change. When the page shows it, the page has applied the change.
      await bob.send(room.id, `after ${what}`)
      await hasApplied(page, `after ${what}`)
      expectSamePlace(start, await settled(page), what)
    }
    await room.ada.leave()
  })

  it('[READ1] the line being read keeps its place while older pages load or the window changes', async () => {
    const room = await openRoom(options, 200)
    const { page } = room.ada
    let before = await scrollBy(page, -1_200)
    await page.setViewportSize({ width: options.viewport.width, height: options.viewport.height - 200 })
    let after = await settled(page)
    expectSamePlace(before, after, 'a lower window')
    await page.setViewportSize({ width: options.viewport.width - 60, height: options.viewport.height - 200 })
    before = after
    after = await settled(page)
    expectSamePlace(before, after, 'a narrower window')
    // Scroll repeatedly to the top of the loaded messages. Each time, an older page is added above
    // the line being read.
    for (let pages = 0; rowWith(after, 'old 1 ') === undefined; pages += 1) {
      expect(pages, 'pages').toBeLessThan(10)
      before = await scrollBy(page, -100_000)
      await waitForFact(
        async () => {
          const layout = await readLayout(page)
          return layout !== undefined && (layout.scrollTop > 0 || rowWith(layout, 'old 1 ') !== undefined)
        },
        { what: 'an older page' },
      )
      after = await settled(page)
      expectSamePlace(before, after, 'an older page')
    }
    await room.ada.leave()
  })

  it('[READ1] a link to an older message shows that message, also after signing in', async () => {
    const { id, handle } = await makeRoom(60)
    const ada = await Person.arrive(browser, server.url, 'Ada Lovelace', { ...options, handle })
    await ada.page.goto(`/c/${id}/12`)
    await ada.page.getByLabel('Username').fill(handle)
    await ada.page.getByLabel('Password').fill(password)
    await ada.page.getByRole('button', { name: 'Sign in' }).click()
    await ada.composer.waitFor()
    await waitForFact(async () => (await readLayout(ada.page))?.rows.some(({ seq }) => seq === 12), { what: 'seq 12' })
    const layout = await settled(ada.page)
    const row = layout.rows.find(({ seq }) => seq === 12)
    expect(row?.top).toBeGreaterThanOrEqual(layout.top)
    expect(row?.bottom).toBeLessThanOrEqual(layout.bottom)
    await ada.leave()
  })
})

function expectUnreadLine(layout: Layout, unread: number, name = 'new'): void {
  const first = rowWith(layout, `${name} 1 `)
  expect(layout.lineTop, 'the line is there').toBeDefined()
  expect(first, 'the first unread message is there').toBeDefined()
  // The unread line is directly above the first unread message.
  expect(Math.abs((first?.top ?? 0) - layout.top - (layout.lineTop ?? 0))).toBeLessThan(80)
  expect(layout.lineTop).toBeGreaterThanOrEqual(0)
  // If the unread messages do not fit on the screen, the unread line is near the top.
  if (unread > 20 || layout.gap > 30) expect(layout.lineTop).toBeLessThan(140)
}

/** Returns the user's unread count as the server reports it. */
async function unreadOf(user: HttpUser, id: string): Promise<number> {
  const { body } = await user.expect<{ conversation: { unread: number } }>(200, 'GET', `/v1/conversations/${id}`)
  return body.conversation.unread
}

/**
 * Waits until the page has applied all changes up to this message of Bob: the conversation list
 * then shows it as the last message.
 */
async function hasApplied(page: Page, text: string): Promise<void> {
  await waitForFact(
    () =>
      page.evaluate(
        (wanted) => document.querySelector('.conversation-item-last')?.textContent?.endsWith(wanted) === true,
        text,
      ),
    { what: `“${text}”, applied` },
  )
}

/**
 * Creates a mulberry32 random number generator. Its whole state is the seed, so a seed repeats a
 * run.
 */
function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const playedLooks: readonly BrowserContextOptions[] = [
  { viewport: desktop, reducedMotion: 'no-preference' },
  { viewport: phone, reducedMotion: 'reduce', hasTouch: true, isMobile: true },
  { viewport: tablet, reducedMotion: 'reduce' },
  { viewport: desktop, reducedMotion: 'reduce' },
  { viewport: phone, reducedMotion: 'no-preference', hasTouch: true, isMobile: true },
  { viewport: tablet, reducedMotion: 'no-preference' },
]

const steps = [
  'own message',
  'foreign message',
  'burst',
  'edit',
  'reaction',
  'deletion',
  'scroll up',
  'scroll down',
  'older page',
  'resize',
  'jump',
  'to the end',
  'reload',
] as const

/** Plays the random steps of one seed. An error message lists the steps played so far. */
async function play(seed: number, stepCount: number): Promise<void> {
  const random = createRandom(seed)
  const look = playedLooks[seed % playedLooks.length] ?? {}
  const room = await openRoom(look, 130)
  const { page } = room.ada
  const { width, height } = look.viewport ?? desktop
  const deleted = new Set<number>()
  const played: string[] = []
  let count = 0

  /**
   * Sends messages of Bob, and one more as a barrier: when the page shows the barrier, it has
   * applied all earlier messages.
   */
  const foreign = async (messages: number): Promise<void> => {
    for (let index = 0; index < messages; index += 1)
      await bob.send(room.id, textOf(`foreign ${(count += 1)}`, random(40)))
    const text = `end of foreign ${count}`
    await bob.send(room.id, text)
    await hasApplied(page, text)
  }
  /** Returns the seq of a random message above the line being read. It need not be drawn. */
  const above = (layout: Layout): number | undefined => {
    const read = readRow(layout)
    const seqs = Array.from({ length: 60 }, (_, index) => read.seq - 1 - index).filter(
      (seq) => seq > 4 && !deleted.has(seq),
    )
    return read.seq === 0 ? undefined : seqs[random(Math.max(1, Math.min(seqs.length, 40)))]
  }

  const step = async (name: (typeof steps)[number]): Promise<void> => {
    const before = await settled(page)
    const wasAtEnd = before.gap <= 30 && !before.hasToEnd
    const expectKept = async (): Promise<void> => {
      const after = await settled(page)
      if (wasAtEnd) expect(after.gap, `${name}: below the screen`).toBeLessThanOrEqual(1)
      else expectSamePlace(before, after, name)
    }
    switch (name) {
      case 'own message': {
        const text = `own ${(count += 1)}`
        await room.ada.composer.fill(text)
        await page.getByRole('button', { name: 'Send', exact: true }).click()
        await waitForFact(
          async () => {
            const layout = await readLayout(page)
            const row = layout === undefined ? undefined : rowWith(layout, text)
            return (
              layout !== undefined && row !== undefined && row.seq > 0 && row.bottom <= layout.bottom && layout.gap <= 1
            )
          },
          { what: `${text} at the end of the screen` },
        )
        return
      }
      case 'foreign message':
        await foreign(0)
        return expectKept()
      case 'burst':
        await foreign(12)
        return expectKept()
      case 'edit':
      case 'reaction':
      case 'deletion': {
        const seq = above(before)
        if (seq !== undefined) {
          const path = `/v1/conversations/${room.id}/messages/${seq}`
          // Bob may not edit Ada's messages, so those edits are refused. As the owner of the group,
          // he may delete them.
          if (name === 'edit') await bob.call('PATCH', path, { text: textOf(`edited ${(count += 1)}`, random(40)) })
          else if (name === 'reaction') await bob.call('PUT', `${path}/reactions/${encodeURIComponent('🎉')}`)
          else {
            deleted.add(seq)
            await bob.call('DELETE', path)
          }
        }
        await foreign(0)
        return expectKept()
      }
      case 'scroll up':
        await scrollBy(page, -(200 + random(3_000)))
        return
      case 'scroll down':
        await scrollBy(page, 200 + random(2_000))
        return
      case 'older page':
        await scrollBy(page, -100_000)
        return
      case 'resize':
        await page.setViewportSize({ width: width - random(3) * 20, height: height - random(4) * 70 })
        return expectKept()
      case 'jump': {
        const seq = 5 + random(100)
        await page.goto(`${room.url}/${seq}`)
        await room.ada.composer.waitFor()
        await waitForFact(
          async () => {
            const layout = await readLayout(page)
            const row = layout?.rows.find((one) => one.seq === seq)
            return layout !== undefined && row !== undefined && row.top >= layout.top - 1 && row.top < layout.bottom
          },
          { what: `seq ${seq} on the screen` },
        )
        return
      }
      case 'to the end':
        if (await page.getByTestId('to-end').isVisible()) await page.getByTestId('to-end').click()
        await waitForFact(
          async () => {
            const layout = await readLayout(page)
            return layout !== undefined && layout.gap <= 1 && !layout.hasToEnd
          },
          { what: 'the end' },
        )
        return
      case 'reload': {
        await goTo(room)
        // After a reload, the list opens at the unread line, or at the end if no message was
        // unread.
        await waitForFact(
          async () => {
            const layout = await readLayout(page)
            if (layout === undefined) return false
            const isLine = layout.lineTop !== undefined && layout.lineTop >= -1 && layout.lineTop < layout.bottom
            return isLine || (layout.gap <= 1 && !layout.hasToEnd)
          },
          { what: 'the unread line or the end' },
        )
      }
    }
  }

  try {
    for (let index = 0; index < stepCount; index += 1) {
      const name = steps[random(steps.length)] ?? 'foreign message'
      played.push(name)
      await step(name)
    }
  } catch (error) {
    const how = `SCROLL_SEEDS=${seed} SCROLL_STEPS=${stepCount}`
    throw new Error(`unable to keep the place; ${how}, after: ${played.join(', ')}`, { cause: error })
  }
  room.ada.expectNoSurprises()
  await room.ada.leave()
}

const seeds = (process.env['SCROLL_SEEDS'] ?? '1,2,3,4').split(',').map(Number)
const stepCount = Number(process.env['SCROLL_STEPS'] ?? '14')

it.each(seeds)(
  '[READ1] random steps keep the line being read, or the end, in place (seed %i)',
  async (seed) => {
    await play(seed, stepCount)
  },
  40_000 + 2_000 * stepCount,
)
