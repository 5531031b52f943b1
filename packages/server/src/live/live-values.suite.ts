/**
 * Contract test suite for live values. Runs for one process (live-values-local.test.ts) and across
 * servers (live-store-redis.test.ts).
 */
import { randomUUID } from 'node:crypto'
import type { LiveValue } from '@chorus/protocol'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Clock } from '../support/clock.ts'
import { holdingLimits } from './live-holdings.ts'
import { liveLimits } from './live-values.ts'
import type { LiveServer } from './testing/live-servers.ts'

export interface LiveSuiteOptions {
  readonly clock: Clock
  /**
   * Opens two servers that show the same conversations. Within one process, both are the same
   * server.
   */
  readonly open: () => Promise<readonly [LiveServer, LiveServer]>
}

const waiting = { timeout: 20_000, interval: 20 }

export function describeLiveValues(name: string, { clock, open }: LiveSuiteOptions): void {
  describe(`live values ${name}`, () => {
    let servers: readonly LiveServer[] = []
    afterEach(() => {
      for (const { values } of servers) values.stop()
    })
    const start = async () => {
      const [here, there] = await open()
      servers = [here, there]
      const conversation = randomUUID()
      const [ada, bob] = [randomUUID(), randomUUID()]
      await Promise.all([here.show(conversation), there.show(conversation)])
      return { here, there, conversation, ada, bob }
    }
    const pass = (delayMs: number): Promise<void> =>
      new Promise((resolve) => {
        clock.setTimer(resolve, delayMs)
      })
    const shown = (values: readonly LiveValue[]): unknown[] => values.map(({ key, value }) => [key, value])

    it('[LIVE1] sends and lists a live value that was set at another server', async () => {
      const { here, there, conversation, ada, bob } = await start()
      here.values.set(conversation, 'typing', ada, true, 60_000)
      there.values.set(conversation, 'location', bob, [1, 2], 60_000)
      for (const server of [here, there]) {
        await vi.waitFor(
          () =>
            expect(shown(server.values.list(conversation)).sort()).toEqual([
              ['location', [1, 2]],
              ['typing', true],
            ]),
          waiting,
        )
        await vi.waitFor(
          () => expect(new Set(server.told.map(({ user }) => user))).toEqual(new Set([ada, bob])),
          waiting,
        )
      }
    })

    it('[LIVE1] delivers the newest of many live values last, without sending all', async () => {
      const { here, there, conversation, ada } = await start()
      for (let value = 0; value < 500; value++) {
        here.values.set(conversation, 'location', ada, value, 60_000)
        if (value % 50 === 0) await pass(liveLimits.gatherMs / 10)
      }
      await vi.waitFor(() => expect(there.told.at(-1)?.value).toBe(499), waiting)
      expect(there.told.length).toBeLessThan(50)
      expect(shown(there.values.list(conversation))).toEqual([['location', 499]])
    })

    it('[LIVE1] keeps the live value that was set last, at whichever server', async () => {
      const { here, there, conversation, ada } = await start()
      for (let turn = 0; turn < 5; turn++) {
        const server = turn % 2 === 0 ? here : there
        server.values.set(conversation, 'location', ada, turn, 60_000)
        // Waits, so that two values never have the same millisecond of the database's time.
        await pass(50)
      }
      for (const server of [here, there])
        await vi.waitFor(() => expect(shown(server.values.list(conversation))).toEqual([['location', 4]]), waiting)
    })

    it('[LIVE1] a live value ends at all servers when it expires or is set to null', async () => {
      const { here, there, conversation, ada, bob } = await start()
      here.values.set(conversation, 'typing', ada, true, 3_000)
      here.values.set(conversation, 'location', bob, 1, 60_000)
      await vi.waitFor(() => expect(there.values.list(conversation)).toHaveLength(2), waiting)
      await vi.waitFor(() => expect(shown(there.values.list(conversation))).toEqual([['location', 1]]), waiting)
      here.values.set(conversation, 'location', bob, null, 1)
      await vi.waitFor(() => expect(there.values.list(conversation)).toEqual([]), waiting)
      await vi.waitFor(() => expect(there.told.at(-1)).toMatchObject({ user: bob, value: null }), waiting)
      await vi.waitFor(async () => expect(await there.values.read(conversation)).toEqual([]), waiting)
    })

    it('[LIM3] evicts only old live values of the user who exceeds the limit', async () => {
      const { here, there, conversation, ada, bob } = await start()
      there.values.set(conversation, 'typing', bob, true, 60_000)
      const most = holdingLimits.perConversationMax
      for (let index = 0; index < most + 8; index++) here.values.set(conversation, `key${index}`, ada, index, 60_000)
      for (const server of [here, there]) {
        await vi.waitFor(async () => {
          const values = await server.values.read(conversation)
          expect(values.filter(({ user }) => user === bob)).toHaveLength(1)
          const numbers = values.flatMap(({ user, value }) => (user === ada ? [Number(value)] : []))
          expect(numbers.sort((one, other) => one - other)).toEqual(Array.from({ length: most }, (_, n) => n + 8))
        }, waiting)
      }
      // Setting a value again makes it the newest one, so the next oldest value is evicted.
      here.values.set(conversation, 'key8', ada, 8, 60_000)
      here.values.set(conversation, 'one-more', ada, 100, 60_000)
      for (const server of [here, there]) {
        await vi.waitFor(async () => {
          const keys = (await server.values.read(conversation)).map(({ key }) => key)
          expect(keys).toContain('key8')
          expect(keys).toContain('one-more')
          expect(keys).not.toContain('key9')
        }, waiting)
      }
    })

    it('[ACL1] ends and refuses live values of a removed user until the user rejoins', async () => {
      const { here, there, conversation, ada, bob } = await start()
      here.values.set(conversation, 'typing', ada, true, 60_000)
      here.values.set(conversation, 'typing', bob, true, 60_000)
      await vi.waitFor(() => expect(there.values.list(conversation)).toHaveLength(2), waiting)
      // Each server reads the removal in the log of the conversation, one server earlier than the
      // other.
      there.values.forget(conversation, ada)
      if (here !== there) here.values.set(conversation, 'location', ada, 1, 60_000)
      here.values.set(conversation, 'location', bob, 2, 60_000)
      await vi.waitFor(() => expect(there.values.list(conversation)).toHaveLength(2), waiting)
      expect(new Set(there.values.list(conversation).map(({ user }) => user))).toEqual(new Set([bob]))
      here.values.forget(conversation, ada)
      for (const server of [here, there]) {
        const users = (await server.values.read(conversation)).map(({ user }) => user)
        expect(new Set(users)).toEqual(new Set([bob]))
        server.values.welcome(conversation, ada)
      }
      here.values.set(conversation, 'typing', ada, true, 60_000)
      await vi.waitFor(() => expect(there.values.list(conversation)).toHaveLength(3), waiting)
    })
  })
}
