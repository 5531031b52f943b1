/**
 * Tests of retries: a request that the server certainly did not execute is retried once; every
 * other error goes to the caller.
 */
import { ChorusError, type ErrorCode } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { retryOnce, retryOnceMaxMs, requestsMax, createRequestQueue } from './retry-once.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'

function failing(times: number, code: ErrorCode, retryAfterMs?: number) {
  let sent = 0
  return {
    send: () => {
      sent += 1
      const options = retryAfterMs === undefined ? {} : { retryAfterMs }
      return sent <= times
        ? Promise.reject(new ChorusError(code, 'unable to send; this is a test', options))
        : Promise.resolve('done')
    },
    count: () => sent,
  }
}

describe('the retry of a request', () => {
  it('[ACK2] a request is retried once if the server did not execute it', async () => {
    const clock = new ManualClock()
    const stopping = failing(1, 'unavailable', 1_000)
    const answer = retryOnce(stopping.send, clock)
    await clock.advance(999)
    expect(stopping.count()).toBe(1)
    await clock.advance(1)
    expect(await answer).toBe('done')

    const away = failing(5, 'unavailable')
    const refused = retryOnce(away.send, clock).catch((error: unknown) => error)
    await clock.advance(60_000)
    expect(await refused).toMatchObject({ code: 'unavailable' })
    expect(away.count()).toBe(2)
    expect(clock.timers).toBe(0)
  })

  it('[ACK2] a request that may have been executed or was refused is not retried', async () => {
    const clock = new ManualClock()
    for (const [code, retryAfterMs] of [
      ['unknown'],
      ['forbidden'],
      ['rate-limited', 100],
      ['unavailable', retryOnceMaxMs + 1],
    ] as const) {
      const { send, count } = failing(1, code, retryAfterMs)
      await expect(retryOnce(send, clock)).rejects.toMatchObject({ code })
      expect(count()).toBe(1)
    }
  })
})

describe('the request queue', () => {
  /**
   * Records the requests. The first request with each name in `failing` fails with `unavailable`.
   */
  function setUp(...failing: string[]) {
    const clock = new ManualClock()
    const queue = createRequestQueue(clock)
    const sent: string[] = []
    const answered: string[] = []
    const command = (about: string, name: string, replaces = true): Promise<void> => {
      const send = async (): Promise<string> => {
        sent.push(name)
        await settle()
        const isFailing = failing.includes(name) && sent.filter((one) => one === name).length === 1
        if (isFailing) throw new ChorusError('unavailable', 'unable to send; this is a test')
        return name
      }
      return queue(about, replaces, send).then(
        (answer) => void answered.push(answer),
        (error: unknown) => void answered.push(`no ${name}, ${(error as ChorusError).code}`),
      )
    }
    return { clock, sent, answered, command }
  }

  it('[ACK2] a newer command cancels the retry of the command it replaces', async () => {
    const { clock, sent, answered, command } = setUp('typing', 'react')
    const typing = command('c/live/typing', 'typing')
    const react = command('c/5/reactions/x', 'react')
    await settle()
    await settle()
    expect(clock.timers).toBe(2)
    // The clock does not move, so a new request cannot wait for a delay.
    await command('c/live/typing', 'stopped')
    await typing
    expect(sent).toEqual(['typing', 'react', 'stopped'])
    await clock.advance(retryOnceMaxMs)
    await react
    expect(sent).toEqual(['typing', 'react', 'stopped', 'react'])
    expect(answered).toEqual(['no typing, unavailable', 'stopped', 'react'])
    // A command sent after the cancelled retry is executed as usual.
    await command('c/live/typing', 'again')
    expect(answered.at(-1)).toBe('again')
  })

  it('[ACK2] the request queue sends commands in call order, each once', async () => {
    const { clock, sent, answered, command } = setUp('react', 'unreact')
    const all = [command('a', 'react'), command('a', 'unreact'), command('a', 'react again'), command('b', 'other')]
    expect(sent).toEqual(['react', 'other'])
    await Promise.all(all)
    await clock.advance(retryOnceMaxMs)
    expect(sent).toEqual(['react', 'other', 'unreact', 'react again'])
    expect(answered.filter((one) => one !== 'other')).toEqual([
      'no react, unavailable',
      'no unreact, unavailable',
      'react again',
    ])
  })

  it('[ACK2] a command waits for the retry of an earlier command that it does not replace', async () => {
    const { clock, sent, answered, command } = setUp('name')
    const both = [command('me', 'name', false), command('me', 'avatar', false)]
    await settle()
    await settle()
    expect(sent).toEqual(['name'])
    await clock.advance(retryOnceMaxMs)
    await Promise.all(both)
    expect(sent).toEqual(['name', 'name', 'avatar'])
    expect(answered).toEqual(['name', 'avatar'])
  })

  it('[LIM1] the request queue refuses commands beyond the maximum number', async () => {
    const { sent, answered, command } = setUp()
    const all = Array.from({ length: requestsMax }, (_, index) => command('a', `${index}`))
    await command('b', 'too much')
    expect(answered).toEqual(['no too much, rate-limited'])
    expect(sent).toEqual(['0'])
    await Promise.all(all)
    await command('b', 'later')
    expect(answered.at(-1)).toBe('later')
    expect(sent).toHaveLength(requestsMax + 1)
  })
})
