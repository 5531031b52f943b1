/** Tests the pre-send hook against a real HTTP server with every fault, under both settings. */
import { randomUUID } from 'node:crypto'
import type { HookQuestion } from '@chorus/protocol'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Metrics } from '../support/metrics.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { breakerLimits } from './circuit-breaker.ts'
import { slotLimits } from './question-slots.ts'
import type { PreSendHook } from './pre-send-hook.ts'
import { type HookServer, openHook, type Respond, startHookServer } from './testing/hook-server.ts'

const what = 'send the message'
const question = (text = 'hello'): HookQuestion => ({
  kind: 'send',
  conversation: '0198c0de-0000-7000-8000-000000000001',
  subject: { type: 'order', id: '7', title: null, url: null, data: null },
  sender: { id: '0198c0de-0000-7000-8000-000000000002', externalId: 'ada' },
  clientId: randomUUID(),
  text,
  data: { n: 1 },
})

let server: HookServer
let metrics: Metrics
const hooks: PreSendHook[] = []
beforeEach(async () => {
  server = await startHookServer()
  metrics = new Metrics()
})
afterEach(async () => {
  for (const hook of hooks.splice(0)) hook.stop()
  metrics.stop()
  await server.close()
})

function open(options: Parameters<typeof openHook>[2] = {}, url = server.url): PreSendHook {
  const hook = openHook(url, metrics, options)
  hooks.push(hook)
  return hook
}

async function count(outcome: string): Promise<number> {
  const { values } = await metrics.hookQuestions.get()
  return values.find(({ labels }) => labels.outcome === outcome)?.value ?? 0
}

/** Sends more than the hook may answer, as long as the server reads. */
function flood(): { readonly respond: Respond; readonly sent: () => number } {
  let bytes = 0
  const respond: Respond = (response) => {
    const more = (): void => {
      while (!response.destroyed && bytes < 50_000_000) {
        bytes += 65_536
        if (!response.write(Buffer.alloc(65_536, 32))) return void response.once('drain', more)
      }
      response.end()
    }
    more()
  }
  return { respond, sent: () => bytes }
}

const million = `{"action":"allow","pad":"${'x'.repeat(1_000_000)}"}`
const faults: Readonly<Record<string, Respond>> = {
  'status 500': (response) => response.writeHead(500).end('{"action":"allow"}'),
  'status 503': (response) => response.writeHead(503).end(),
  'status 201': (response) => response.writeHead(201).end('{"action":"allow"}'),
  'a redirect': (response) => response.writeHead(307, { location: server.url }).end('{"action":"allow"}'),
  'an answer of 1 MB': (response) => response.end(million),
  'no JSON': (response) => response.end('yes'),
  'an unknown action': (response) => response.end('{"action":"maybe"}'),
  'a reset connection': (response) => response.socket?.resetAndDestroy(),
  'a cut answer': (response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('{"action":', () => response.destroy())
  },
}

describe('the pre-send hook', () => {
  it('[HOOK1] gets a signed question, and its answer counts', async () => {
    const hook = open()
    const asked = question()
    expect(await hook.ask(asked, what)).toEqual({ action: 'allow' })
    expect(server.questions).toEqual([asked])
    server.decide = () => ({ action: 'replace', text: 'b**' })
    expect(await hook.ask(question(), what)).toEqual({ action: 'replace', text: 'b**' })
    server.decide = () => ({ action: 'refuse', reason: 'No phone\nnumbers.' })
    await expect(hook.ask(question(), what)).rejects.toMatchObject({ code: 'forbidden', message: 'No phone numbers.' })
    server.decide = () => ({ action: 'refuse' })
    await expect(hook.ask(question(), what)).rejects.toThrow('unable to send the message; its content is not allowed')
    expect([await count('allowed'), await count('replaced'), await count('refused')]).toEqual([1, 1, 2])
  })

  it.each(Object.entries(faults))(
    '[HOOK1] stores nothing unchecked after %s if it fails closed',
    async (_, respond) => {
      server.respond = respond
      const refused = expect(open().ask(question(), what)).rejects
      await refused.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 })
      expect(await count('failed')).toBe(1)
      expect(server.questions).toHaveLength(1)
    },
  )

  it.each(Object.entries(faults))('[HOOK1] lets a message pass after %s if it fails open', async (_, respond) => {
    server.respond = respond
    expect(await open({ failure: 'open' }).ask(question(), what)).toEqual({ action: 'allow' })
    expect((await metrics.hookUnchecked.get()).values[0]?.value).toBe(1)
  })

  it('[HOOK1] refuses a message whose replacement is not valid, under both settings', async () => {
    server.respond = (response) => response.end(`{"action":"replace","text":7}`)
    for (const failure of ['open', 'closed'] as const)
      await expect(open({ failure }).ask(question(), what)).rejects.toMatchObject({ code: 'forbidden' })
    expect(await count('bad-replacement')).toBe(2)
  })

  it('[HOOK1] reads at most 64 kB of an answer', async () => {
    const { respond, sent } = flood()
    server.respond = respond
    await expect(open().ask(question(), what)).rejects.toMatchObject({ code: 'unavailable' })
    expect(sent()).toBeLessThan(20_000_000)
  })

  it('[HOOK1] waits one second for the whole answer, by default', async () => {
    server.respond = (response) => {
      response.write('{"action":')
      const timer = setInterval(() => response.write(' '), 100)
      response.once('close', () => clearInterval(timer))
    }
    const startMs = performance.now()
    await expect(open({ timeoutMs: 1_000 }).ask(question(), what)).rejects.toMatchObject({ code: 'unavailable' })
    const tookMs = performance.now() - startMs
    expect(tookMs).toBeGreaterThan(900)
    expect(tookMs).toBeLessThan(8_000)
  })

  it('[HOOK1] asks again over a new connection when an idle one was closed', async () => {
    const hook = open()
    await hook.ask(question(), what)
    let isFirst = true
    server.respond = (response) => {
      if (!isFirst) return response.end('{"action":"allow"}')
      isFirst = false
      return response.socket?.destroy()
    }
    expect(await hook.ask(question(), what)).toEqual({ action: 'allow' })
    expect(await count('failed')).toBe(0)
  })

  it('[HOOK1] asks a hook that is down only for trials', async () => {
    const { url } = server
    await server.close()
    const clock = new ManualClock()
    const hook = open({ clock }, url)
    const ask = () => hook.ask(question(), what).catch((error: unknown) => error)
    for (let asked = 0; asked < breakerLimits.failuresMax; asked++) await ask()
    expect(await count('failed')).toBe(breakerLimits.failuresMax)
    expect(await ask()).toMatchObject({ code: 'unavailable', retryAfterMs: breakerLimits.pauseMinMs })
    expect(await count('skipped')).toBe(1)
    clock.advance(breakerLimits.pauseMinMs)
    await Promise.all([ask(), ask()])
    expect([await count('failed'), await count('skipped')]).toEqual([breakerLimits.failuresMax + 1, 2])
  })

  it('[HOOK1] asks about every message once the hook answers again', async () => {
    const clock = new ManualClock()
    const hook = open({ clock, failure: 'open' })
    server.respond = (response) => response.writeHead(503).end()
    for (let asked = 0; asked < breakerLimits.failuresMax; asked++) await hook.ask(question(), what)
    server.respond = undefined
    server.decide = () => ({ action: 'refuse' })
    expect(await hook.ask(question(), what)).toEqual({ action: 'allow' })
    clock.advance(breakerLimits.pauseMinMs)
    for (let asked = 0; asked < 2; asked++)
      await expect(hook.ask(question(), what)).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('[HOOK1] keeps asking a hook that answers some questions wrongly', async () => {
    server.respond = (response) => response.writeHead(500).end()
    const hook = open({ failure: 'open' })
    for (let asked = 0; asked < 2 * breakerLimits.failuresMax; asked++) await hook.ask(question(), what)
    expect(await count('failed')).toBe(2 * breakerLimits.failuresMax)
  })

  it('[HOOK1] [LIM1] refuses a question that waits too long for its turn', async () => {
    server.respond = () => undefined
    const clock = new ManualClock()
    const hook = open({ failure: 'open', clock, timeoutMs: 60_000 })
    const asked = Array.from({ length: slotLimits.concurrentMax + 1 }, () => hook.ask(question(), what))
    for (const ask of asked) ask.catch(() => undefined)
    await vi.waitFor(() => expect(server.questions).toHaveLength(slotLimits.concurrentMax), 20_000)
    clock.advance(slotLimits.waitMs)
    await expect(asked.at(-1)).rejects.toMatchObject({ code: 'unavailable' })
    expect(await count('overloaded')).toBe(1)
    expect(server.questions).toHaveLength(slotLimits.concurrentMax)
    await server.close()
    await Promise.all(asked.slice(0, -1))
  })
})
