/** Tests that only signed bytes become events, in every form that a framework hands them over. */
import { type HookQuestion, signWebhook, WebhookError, type WebhookFault } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { type SignedRequest, verifyHook, verifyWebhook } from './verify-webhook.ts'

const secret = `whsec_${btoa('a secret of thirty-two bytes, yes')}`
const other = `whsec_${btoa('another one of thirty-two bytes.')}`
const now = new Date('2026-11-27T12:00:00Z')
const event = {
  type: 'message.created',
  timestamp: now.toISOString(),
  data: { conversation: 'c', change: { seq: 7, type: 'message.created', message: { text: 'Grüße 👋' } } },
}
const body = JSON.stringify(event)

async function signed(text: string, secrets = [secret], more: Partial<SignedRequest> = {}): Promise<SignedRequest> {
  const headers = await signWebhook({ id: 'epoch.c.7', timestamp: now, body: text, secrets })
  return { headers: { ...headers }, body: text, secrets: secret, now, ...more }
}

const faultOf = (verified: Promise<unknown>): Promise<WebhookFault | 'none'> =>
  verified.then(
    () => 'none' as const,
    (error: unknown) => {
      if (error instanceof WebhookError) return error.fault
      throw error
    },
  )

describe('a webhook', () => {
  it('returns its event from a string, bytes or a buffer', async () => {
    const request = await signed(body)
    const expected = { id: 'epoch.c.7', timestamp: now, event }
    expect(await verifyWebhook(request)).toEqual(expected)
    expect(await verifyWebhook({ ...request, body: new TextEncoder().encode(body) })).toEqual(expected)
    expect(await verifyWebhook({ ...request, body: Buffer.from(body) })).toEqual(expected)
  })

  it('is accepted with any of several secrets', async () => {
    expect(await faultOf(verifyWebhook(await signed(body, [other, secret])))).toBe('none')
    expect(await faultOf(verifyWebhook(await signed(body, [other], { secrets: [secret, other] })))).toBe('none')
    expect(await faultOf(verifyWebhook(await signed(body, [other])))).toBe('bad-signature')
  })

  it('is refused outside of the tolerance', async () => {
    const late = new Date(now.getTime() + 61_000)
    expect(await faultOf(verifyWebhook(await signed(body, [secret], { now: late })))).toBe('none')
    expect(await faultOf(verifyWebhook(await signed(body, [secret], { now: late, toleranceMs: 60_000 })))).toBe('stale')
  })

  it('is refused when a byte of its body differs', async () => {
    const bytes = Buffer.from(body)
    bytes[10] = (bytes[10] ?? 0) ^ 1
    expect(await faultOf(verifyWebhook({ ...(await signed(body)), body: bytes }))).toBe('bad-signature')
    const invalid = Buffer.concat([Buffer.from(body), Buffer.from([0xff])])
    expect(await faultOf(verifyWebhook({ ...(await signed(`${body}\ufffd`)), body: invalid }))).toBe('bad-signature')
  })

  it('is refused when it is signed but not JSON', async () => {
    expect(await faultOf(verifyWebhook(await signed('no json')))).toBe('malformed')
  })

  it('explains a body that a framework has parsed', async () => {
    const request = { ...(await signed(body)), body: event as unknown as string }
    await expect(verifyWebhook(request)).rejects.toThrow('body must be the bytes as received')
  })
})

it('returns the question of a hook', async () => {
  const question: HookQuestion = {
    kind: 'send',
    conversation: 'c',
    subject: { type: 'order', id: '7', title: null, url: null, data: null },
    sender: { id: 'u', externalId: 'user-1' },
    clientId: 'id',
    text: 'call me: 0123',
    data: null,
  }
  const request = await signed(JSON.stringify(question))
  expect((await verifyHook(request)).question).toEqual(question)
  expect(await faultOf(verifyHook({ ...request, body: '{}' }))).toBe('bad-signature')
})
