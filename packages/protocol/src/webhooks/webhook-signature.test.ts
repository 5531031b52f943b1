/** Tests that a receiver refuses forged, old, repeated and rewritten webhooks. */
import { describe, expect, it } from 'vitest'
import { signWebhook, verifyWebhook, type WebhookError, type WebhookFault } from './webhook-signature.ts'

const secret = `whsec_${btoa('a secret of thirty-two bytes, yes')}`
const other = `whsec_${btoa('another one of thirty-two bytes.')}`
const now = new Date('2026-11-22T12:00:00Z')
const body = '{"type":"message.created","data":{"n":1.0,"text":"Grüße 👋"}}'

const sign = (changes: Partial<Parameters<typeof signWebhook>[0]> = {}) =>
  signWebhook({ id: 'history.conversation.7', timestamp: now, body, secrets: [secret], ...changes })

async function faultOf(verified: Promise<unknown>): Promise<WebhookFault | 'none'> {
  return verified.then(
    () => 'none',
    (error: WebhookError) => error.fault,
  )
}

describe('a webhook', () => {
  it('a signed webhook is accepted with a `Headers` object and with a plain object', async () => {
    const headers = await sign()
    const expected = { id: 'history.conversation.7', timestamp: now }
    expect(await verifyWebhook({ headers: { ...headers }, body, secrets: secret, now })).toEqual(expected)
    expect(await verifyWebhook({ headers: new Headers({ ...headers }), body, secrets: secret, now })).toEqual(expected)
    const bytes = new TextEncoder().encode(body)
    expect(await verifyWebhook({ headers: { ...headers }, body: bytes, secrets: secret, now })).toEqual(expected)
  })

  it('a webhook is signed as Standard Webhooks specifies', async () => {
    // Values from the specification's own example.
    const headers = await signWebhook({
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestamp: new Date(1_614_265_330_000),
      body: '{"test": 2432232314}',
      secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    })
    expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
  })

  it('a webhook with a bad signature is refused', async () => {
    const headers = await sign()
    const verify = (changes: Record<string, string>) =>
      faultOf(verifyWebhook({ headers: { ...headers, ...changes }, body, secrets: secret, now }))
    expect(await verify({ 'webhook-signature': `v1,${btoa('x'.repeat(32))}` })).toBe('bad-signature')
    expect(await verify({ 'webhook-signature': 'v1,!!!' })).toBe('bad-signature')
    expect(await verify({ 'webhook-signature': headers['webhook-signature'].replace('v1,', 'v2,') })).toBe(
      'bad-signature',
    )
    expect(await verify({ 'webhook-signature': '' })).toBe('malformed')
    expect(await verify({ 'webhook-id': 'history.conversation.8' })).toBe('bad-signature')
    expect(await verify({ 'webhook-timestamp': String(now.getTime() / 1_000 + 1) })).toBe('bad-signature')
    expect(
      await faultOf(verifyWebhook({ headers: { ...(await sign({ secrets: [other] })) }, body, secrets: secret, now })),
    ).toBe('bad-signature')
  })

  it('a webhook is refused when its timestamp is too old or too new', async () => {
    for (const shiftMs of [-301_000, 301_000]) {
      const headers = await sign({ timestamp: new Date(now.getTime() + shiftMs) })
      expect(await faultOf(verifyWebhook({ headers: { ...headers }, body, secrets: secret, now }))).toBe('stale')
    }
    const headers = await sign({ timestamp: new Date(now.getTime() - 299_000) })
    expect(await faultOf(verifyWebhook({ headers: { ...headers }, body, secrets: secret, now }))).toBe('none')
    const stricter = { headers: { ...headers }, body, secrets: secret, now, toleranceMs: 60_000 }
    expect(await faultOf(verifyWebhook(stricter))).toBe('stale')
  })

  it('a webhook is refused when its id was accepted already', async () => {
    const known = new Set<string>()
    const accept = async () => {
      const { id } = await verifyWebhook({
        headers: { ...(await sign()) },
        body,
        secrets: secret,
        now,
        isKnown: (seen) => known.has(seen),
      })
      known.add(id)
    }
    expect(await faultOf(accept())).toBe('none')
    expect(await faultOf(accept())).toBe('replayed')
  })

  it('a webhook is refused when its body was parsed and serialized again', async () => {
    const headers = await sign()
    const again = JSON.stringify(JSON.parse(body))
    expect(again).not.toBe(body)
    expect(await faultOf(verifyWebhook({ headers: { ...headers }, body: again, secrets: secret, now }))).toBe(
      'bad-signature',
    )
  })

  it('a webhook signed with two secrets is accepted by receivers of either secret', async () => {
    const headers = await sign({ secrets: [other, secret] })
    for (const secrets of [secret, other, [other, secret]])
      expect(await faultOf(verifyWebhook({ headers: { ...headers }, body, secrets, now }))).toBe('none')
  })
})
