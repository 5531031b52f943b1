import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { Authenticator, cookieNameFor, hashToken, lookUpMaxMs } from './authenticator.ts'

interface Options {
  readonly sessions?: Readonly<Record<string, { readonly isStale: boolean }>>
  readonly fails?: boolean
  /** Queries of the fake database return when this promise resolves. */
  readonly answered?: Promise<void>
}

function build({ sessions = {}, fails = false, answered }: Options = {}) {
  const queries: number[] = []
  const touched: string[][] = []
  const clock = new ManualClock()
  const authenticator = new Authenticator({
    cookieName: 'chorus_session',
    cookieSecret: 'a secret of at least thirty-two characters',
    clock,
    onProblem: () => undefined,
    records: {
      find: async (hashes) => {
        queries.push(hashes.length)
        await answered
        if (fails) throw new Error('away')
        return Object.entries(sessions)
          .filter(([token]) => hashes.some((hash) => hash.equals(hashToken(token))))
          .map(([token, { isStale }]) => ({
            sessionId: `s-${token}`,
            userId: `u-${token}`,
            tokenHash: hashToken(token),
            expiresInMs: 1_000,
            user: { id: `u-${token}`, handle: token, name: token, avatar: null, bot: false },
            record: { id: `s-${token}`, createdAt: '', lastUsedAt: '', userAgent: null },
            isStale,
          }))
      },
      touch: async (ids) => void touched.push([...ids]),
    },
  })
  const cookie = (token: string): string =>
    `other=1; chorus_session=${encodeURIComponent(authenticator.signer.sign(token))}`
  return { authenticator, clock, queries, touched, cookie }
}

describe('the authenticator', () => {
  it('finds the session of a signed token only, not of an unsigned one', async () => {
    const { authenticator, cookie, queries } = build({ sessions: { anna: { isStale: false } } })
    expect(await authenticator.authenticate(cookie('anna'))).toMatchObject({ userId: 'u-anna', sessionId: 's-anna' })
    expect(await authenticator.authenticate(cookie('ben'))).toBeUndefined()
    expect(queries).toHaveLength(2)
    for (const forged of [
      undefined,
      '',
      'chorus_session',
      'chorus_session=anna',
      'chorus_session=anna.AAAA',
      'chorus_session=%E0%A4%A',
    ]) {
      expect(await authenticator.authenticate(forged)).toBeUndefined()
    }
    expect(queries).toHaveLength(2)
  })

  it('[LIM2] batches concurrent session look-ups into queries of bounded size', async () => {
    const { authenticator, cookie, queries } = build({ sessions: { anna: { isStale: false } } })
    const found = await Promise.all(Array.from({ length: 1_200 }, () => authenticator.authenticate(cookie('anna'))))
    expect(found.every((identity) => identity?.userId === 'u-anna')).toBe(true)
    expect(queries).toEqual([500, 500, 200])
  })

  it('[LIM1] runs one session query at a time, and batches the waiting look-ups', async () => {
    let answer: () => void = () => undefined
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const { authenticator, cookie, queries } = build({ sessions: { anna: { isStale: false } }, answered })
    const asking: Promise<unknown>[] = []
    for (let turn = 0; turn < 20; turn++) {
      for (let index = 0; index < 10; index++) asking.push(authenticator.authenticate(cookie('anna')))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(queries).toEqual([10])
    answer()
    expect(await Promise.all(asking)).toHaveLength(200)
    expect(queries).toEqual([10, 190])
  })

  it('[ACK2] a session look-up times out when the database hangs, waiting time included', async () => {
    const { authenticator, clock, cookie } = build({ answered: new Promise(() => undefined) })
    const outcome = (asking: Promise<unknown>): Promise<unknown> =>
      asking.catch((error: { code: string; retry: string }) => [error.code, error.retry])
    const first = outcome(authenticator.authenticate(cookie('anna')))
    clock.advance(1_000)
    const second = outcome(authenticator.authenticate(cookie('anna')))
    clock.advance(lookUpMaxMs - 1_000)
    expect(await first).toEqual(['unavailable', 'later'])
    clock.advance(1_000)
    expect(await second).toEqual(['unavailable', 'later'])
    expect(clock.pendingCount).toBe(0)
    expect(lookUpMaxMs).toBeLessThan(2_000)
  })

  it('rejects a session look-up while the database is offline; the next one asks again', async () => {
    const { authenticator, cookie } = build({ fails: true })
    await expect(authenticator.authenticate(cookie('anna'))).rejects.toThrow('away')
    await expect(authenticator.authenticate(cookie('anna'))).rejects.toThrow('away')
  })

  it("writes the sessions' times of last use later, in one batch", async () => {
    const { authenticator, clock, cookie, touched } = build({
      sessions: { anna: { isStale: true }, ben: { isStale: true }, cleo: { isStale: false } },
    })
    for (const token of ['anna', 'ben', 'cleo', 'anna']) await authenticator.authenticate(cookie(token))
    expect(touched).toEqual([])
    clock.advance(2_000)
    expect(touched).toEqual([['s-anna', 's-ben']])
    clock.advance(60_000)
    expect(touched).toHaveLength(1)
  })

  it('the session cookie has the __Host- prefix only behind TLS', () => {
    expect(cookieNameFor('https://chat.example')).toBe('__Host-chorus_session')
    expect(cookieNameFor('http://chat.lan')).toBe('chorus_session')
    expect(cookieNameFor(undefined)).toBe('chorus_session')
  })
})
