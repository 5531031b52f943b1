/** Tests the order and the limits of the queues for each sender and conversation. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { senderQueueLimits, SenderQueues } from './sender-queues.ts'

/** Promise that a test resolves. */
function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { passed, open }
}

describe('the queues of senders', () => {
  it('[HOOK2] ends the wait when the predecessor is queued, not when it is stored', async () => {
    const queues = new SenderQueues(new ManualClock())
    const events: string[] = []
    const checked = gate()
    const stored = gate()
    const first = queues.run(
      'a',
      'send',
      () => checked.passed,
      async () => {
        events.push('first queued')
        await stored.passed
        events.push('first stored')
      },
    )
    const second = queues.run(
      'a',
      'send',
      async () => events.push('second checked'),
      async () => undefined,
    )
    await queues.run(
      'b',
      'send',
      async () => events.push('other sender'),
      async () => undefined,
    )
    expect(events).toEqual(['other sender'])
    checked.open()
    await second
    expect(events).toEqual(['other sender', 'first queued', 'second checked'])
    stored.open()
    await first
    expect(queues.size).toBe(0)
  })

  it('[HOOK2] checks the next message after a refused one', async () => {
    const queues = new SenderQueues(new ManualClock())
    const refused = queues.run(
      'a',
      'send',
      () => Promise.reject(new Error('refused')),
      async () => undefined,
    )
    const next = queues.run(
      'a',
      'send',
      async () => 'next',
      async (checked) => checked,
    )
    await expect(refused).rejects.toThrow('refused')
    expect(await next).toBe('next')
  })

  it('[HOOK2] [LIM1] refuses messages beyond its length', async () => {
    const queues = new SenderQueues(new ManualClock())
    const checked = gate()
    const runs = Array.from({ length: senderQueueLimits.queuedMax + 1 }, (_, index) =>
      queues.run(
        'a',
        'send the message',
        () => checked.passed,
        async () => index,
      ),
    )
    await expect(runs.at(-1)).rejects.toMatchObject({ code: 'unavailable' })
    expect(
      await queues.run(
        'b',
        'send',
        async () => 'other',
        async (other) => other,
      ),
    ).toBe('other')
    checked.open()
    expect(await Promise.all(runs.slice(0, -1))).toHaveLength(senderQueueLimits.queuedMax)
  })

  it('[HOOK2] [LIM1] refuses a message that has waited too long', async () => {
    const clock = new ManualClock()
    const queues = new SenderQueues(clock)
    const checked = gate()
    const begun = gate()
    const check = (): Promise<void> => {
      begun.open()
      return checked.passed
    }
    const first = queues.run('a', 'send', check, async () => 'first')
    const second = queues.run(
      'a',
      'send',
      async () => undefined,
      async () => 'second',
    )
    await begun.passed
    clock.advance(senderQueueLimits.waitMs + 1)
    checked.open()
    expect(await first).toBe('first')
    await expect(second).rejects.toMatchObject({ code: 'unavailable' })
  })
})
