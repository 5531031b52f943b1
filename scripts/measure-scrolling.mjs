/**
 * Measures scrolling with the wheel through a long conversation in Chromium, from its end to its
 * beginning: long tasks, layouts, and the share of time spent measuring elements. Prints numbers
 * without a verdict, because they depend on the machine.
 *
 * Run `npx tsc -b packages/testkit` and `npm run build -w @chorus/web` first, then `npm run
 * measure:scrolling -- --messages 10000`.
 */
import { HttpUser, startChromium, startServer } from '../packages/testkit/dist/index.js'

const password = 'a long enough password'
const togetherMax = 40
const stepPx = 1_200

const at = process.argv.indexOf('--messages')
const messages = at === -1 ? 10_000 : Number(process.argv[at + 1])
if (!Number.isInteger(messages) || messages < 1) {
  console.error('unable to measure; --messages expects a whole number above 0')
  process.exit(1)
}

const server = await startServer({ env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } })
const browser = await startChromium()
try {
  const user = await HttpUser.signUp(server.url, { name: 'Reader', password })
  const id = await user.createConversation('group', [], 'Long conversation')
  await writeAll(user, id)
  const page = await openPage(user)
  const session = await page.context().newCDPSession(page)
  await session.send('Performance.enable')
  await session.send('Profiler.enable')
  await session.send('Profiler.setSamplingInterval', { interval: 500 })
  await page.evaluate(() => {
    window.longTasks = []
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longTasks.push(entry.duration)
    }).observe({ type: 'longtask' })
  })

  const before = await metricsOf(session)
  await session.send('Profiler.start')
  const startedAt = performance.now()
  const steps = await scrollToTheBeginning(page)
  const seconds = (performance.now() - startedAt) / 1_000
  const { profile } = await session.send('Profiler.stop')
  const after = await metricsOf(session)
  const longTasks = await page.evaluate(() => window.longTasks)

  print('messages', messages)
  print('seconds', seconds.toFixed(1))
  print('steps of the wheel', steps)
  print('long tasks (over 50 ms)', longTasks.length)
  print('longest task, ms', Math.round(Math.max(0, ...longTasks)))
  print('layouts', after.LayoutCount - before.LayoutCount)
  print('layouts a step', ((after.LayoutCount - before.LayoutCount) / steps).toFixed(2))
  print('layout, s', (after.LayoutDuration - before.LayoutDuration).toFixed(2))
  print('script, s', (after.ScriptDuration - before.ScriptDuration).toFixed(2))
  print('getBoundingClientRect, % of samples', shareOf(profile, 'getBoundingClientRect').toFixed(2))
} finally {
  await browser.close()
  await server.remove()
}
process.exit(0)

async function writeAll(user, id) {
  for (let from = 1; from <= messages; from += togetherMax) {
    const together = Math.min(togetherMax, messages - from + 1)
    await Promise.all(
      Array.from({ length: together }, (_, index) => {
        const number = from + index
        return user.send(id, `message ${number} ${'lorem ipsum dolor '.repeat(1 + ((number * 7) % 23))}`)
      }),
    )
  }
}

async function openPage(user) {
  const context = await browser.newContext({ baseURL: server.url, viewport: { width: 1280, height: 800 } })
  const page = await context.newPage()
  await page.goto('/')
  await page.getByLabel('Username').fill(user.handle)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('link').filter({ hasText: 'Long conversation' }).click()
  await page.locator('[data-row]').first().waitFor()
  await page.mouse.move(700, 400)
  return page
}

/**
 * Turns the mouse wheel until the first message is visible, one step per animation frame. It also
 * continues while older messages are loading. Returns the number of steps.
 */
async function scrollToTheBeginning(page) {
  for (let steps = 1; ; steps += 1) {
    await page.mouse.wheel(0, -stepPx)
    const isThere = await page.evaluate(
      () =>
        new Promise((resolve) =>
          requestAnimationFrame(() => {
            const first = document.querySelector('[data-row] .message-text')?.textContent ?? ''
            resolve(first.startsWith('message 1 '))
          }),
        ),
    )
    if (isThere) return steps
    if (steps > messages * 10) throw new Error('unable to measure; the first message does not appear')
  }
}

async function metricsOf(session) {
  const { metrics } = await session.send('Performance.getMetrics')
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]))
}

function shareOf({ nodes, samples }, functionName) {
  const ids = new Set(nodes.filter(({ callFrame }) => callFrame.functionName === functionName).map(({ id }) => id))
  return (100 * samples.filter((id) => ids.has(id)).length) / samples.length
}

function print(name, value) {
  console.log(`${name.padEnd(40)} ${String(value).padStart(10)}`)
}
