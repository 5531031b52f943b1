/**
 * Tests of retries: a request that was certainly not executed is retried once; every other error
 * goes to the caller.
 */
import { ChorusError, type ErrorCode } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { askAgain, askAgainMaxMs, askedMax, createAskInOrder } from './ask-again.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'

function failing(times: number, code: ErrorCode, retryAfterMs?: number) {
  let asked = 0
  return {
    ask: () => {
      asked += 1
      const options = retryAfterMs === undefined ? {} : { retryAfterMs }
      return asked <= times
        ? Promise.reject(new ChorusError(code, 'unable to ask; this is a test', options))
        : Promise.resolve('done')
    },
    count: () => asked,
  }
}

describe('retrying a request', () => {
  it('[ACK2] retries an unexecuted request once, after the server’s delay', async () => {
    const clock = new ManualClock()
    const stopping = failing(1, 'unavailable', 1_000)
    const answer = askAgain(stopping.ask, clock)
    await clock.advance(999)
    expect(stopping.count()).toBe(1)
    await clock.advance(1)
    expect(await answer).toBe('done')

    const away = failing(5, 'unavailable')
    const refused = askAgain(away.ask, clock).catch((error: unknown) => error)
    await clock.advance(60_000)
    expect(await refused).toMatchObject({ code: 'unavailable' })
    expect(away.count()).toBe(2)
    expect(clock.timers).toBe(0)
  })

  it('[ACK2] does not retry possibly executed, refused or long-delayed requests', async () => {
    const clock = new ManualClock()
    for (const [code, retryAfterMs] of [
      ['unknown'],
      ['forbidden'],
      ['rate-limited', 100],
      ['unavailable', askAgainMaxMs + 1],
    ] as const) {
      const { ask, count } = failing(1, code, retryAfterMs)
      await expect(askAgain(ask, clock)).rejects.toMatchObject({ code })
      expect(count()).toBe(1)
    }
  })
})

describe('sending in order', () => {
  /** Records the requests. Each name in `failing` fails with `unavailable` the first time. */
  function setUp(...failing: string[]) {
    const clock = new ManualClock()
    const inOrder = createAskInOrder(clock)
    const asked: string[] = []
    const answered: string[] = []
    const command = (about: string, name: string, replaces = true): Promise<void> => {
      const ask = async (): Promise<string> => {
        asked.push(name)
        await settle()
        const isFailing = failing.includes(name) && asked.filter((one) => one === name).length === 1
        if (isFailing) throw new ChorusError('unavailable', 'unable to ask; this is a test')
        return name
      }
      return inOrder(about, replaces, ask).then(
        (answer) => void answered.push(answer),
        (error: unknown) => void answered.push(`no ${name}, ${(error as ChorusError).code}`),
      )
    }
    return { clock, asked, answered, command }
  }

  it('[ACK2] drops a retry at once when a newer command replaces it', async () => {
    const { clock, asked, answered, command } = setUp('typing', 'react')
    const typing = command('c/live/typing', 'typing')
    const react = command('c/5/reactions/x', 'react')
    await settle()
    await settle()
    expect(clock.timers).toBe(2)
    // The clock does not move, so a new request cannot wait for a delay.
    await command('c/live/typing', 'stopped')
    await typing
    expect(asked).toEqual(['typing', 'react', 'stopped'])
    await clock.advance(askAgainMaxMs)
    await react
    expect(asked).toEqual(['typing', 'react', 'stopped', 'react'])
    expect(answered).toEqual(['no typing, unavailable', 'stopped', 'react'])
    // A later command is not affected by the dropped retry.
    await command('c/live/typing', 'again')
    expect(answered.at(-1)).toBe('again')
  })

  it('[ACK2] sends commands in call order, each once', async () => {
    const { clock, asked, answered, command } = setUp('react', 'unreact')
    const all = [command('a', 'react'), command('a', 'unreact'), command('a', 'react again'), command('b', 'other')]
    expect(asked).toEqual(['react', 'other'])
    await Promise.all(all)
    await clock.advance(askAgainMaxMs)
    expect(asked).toEqual(['react', 'other', 'unreact', 'react again'])
    expect(answered.filter((one) => one !== 'other')).toEqual([
      'no react, unavailable',
      'no unreact, unavailable',
      'react again',
    ])
  })

  it('[ACK2] waits for the retry of a command that is not replaced', async () => {
    const { clock, asked, answered, command } = setUp('name')
    const both = [command('me', 'name', false), command('me', 'avatar', false)]
    await settle()
    await settle()
    expect(asked).toEqual(['name'])
    await clock.advance(askAgainMaxMs)
    await Promise.all(both)
    expect(asked).toEqual(['name', 'name', 'avatar'])
    expect(answered).toEqual(['name', 'avatar'])
  })

  it('[LIM1] refuses commands beyond the maximum', async () => {
    const { asked, answered, command } = setUp()
    const all = Array.from({ length: askedMax }, (_, index) => command('a', `${index}`))
    await command('b', 'too much')
    expect(answered).toEqual(['no too much, rate-limited'])
    expect(asked).toEqual(['0'])
    await Promise.all(all)
    await command('b', 'later')
    expect(answered.at(-1)).toBe('later')
    expect(asked).toHaveLength(askedMax + 1)
  })
})
