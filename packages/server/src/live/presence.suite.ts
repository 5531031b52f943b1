/** What presence promises, in one process and across servers alike. Run by the test of each. */
import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Clock } from '../support/clock.ts'
import { presenceBounds } from './presences.ts'
import type { PresenceServer } from './testing/presence-servers.ts'

export interface PresenceSuiteOptions {
  readonly clock: Clock
  /** Two servers that know of each other; in one process the same one twice. */
  readonly open: () => Promise<readonly [PresenceServer, PresenceServer]>
}

const waiting = { timeout: 20_000, interval: 20 }

export function describePresence(name: string, { clock, open }: PresenceSuiteOptions): void {
  describe(`presence ${name}`, () => {
    let servers: readonly PresenceServer[] = []
    afterEach(() => Promise.all(servers.map(({ presences }) => presences.stop())))
    const start = async (): Promise<readonly [PresenceServer, PresenceServer]> => {
      const opened = await open()
      servers = opened
      return opened
    }
    const users = (count: number): string[] => Array.from({ length: count }, () => randomUUID())
    const pass = (delayMs: number): Promise<void> =>
      new Promise((resolve) => {
        clock.setTimer(resolve, delayMs)
      })

    it('[PRES2] what changes at one server is told at the other to those who watch, and to nobody else', async () => {
      const [here, there] = await start()
      const [ada = '', bob = '', cleo = ''] = users(3)
      const adas = here.arrive(ada)
      const bystander = here.arrive(cleo)
      expect(await here.watch(adas, [bob])).toEqual(['offline'])
      const bobs = there.arrive(bob)
      await vi.waitFor(() => expect(adas.told.map(({ status }) => status)).toEqual(['online']), waiting)
      there.say(bobs, 'away')
      await vi.waitFor(() => expect(adas.told.map(({ status }) => status)).toEqual(['online', 'away']), waiting)
      expect(bystander.told).toEqual([])
    })

    it('[PRES1] whoever is at the other server is found at once, and of several connections the liveliest counts', async () => {
      const [here, there] = await start()
      const [ada = '', bob = ''] = users(2)
      const phone = there.arrive(bob)
      there.say(phone, 'away')
      const adas = here.arrive(ada)
      await vi.waitFor(async () => expect(await here.watch(adas, [bob])).toEqual(['away']), waiting)
      const laptop = here.arrive(bob)
      await vi.waitFor(() => expect(adas.told.at(-1)?.status).toBe('online'), waiting)
      here.say(laptop, 'away')
      await vi.waitFor(() => expect(adas.told.at(-1)?.status).toBe('away'), waiting)
      there.say(phone, 'online')
      await vi.waitFor(() => expect(adas.told.at(-1)?.status).toBe('online'), waiting)
    })

    it('[PRES1] offline comes a moment after the last connection, with the time', async () => {
      const [here, there] = await start()
      const [ada = '', bob = ''] = users(2)
      const adas = here.arrive(ada)
      const [phone, laptop] = [here.arrive(bob), there.arrive(bob)]
      await vi.waitFor(async () => expect(await here.watch(adas, [bob])).toEqual(['online']), waiting)
      here.depart(phone)
      await pass(presenceBounds.graceMs * 2)
      expect(adas.told).toEqual([])
      const beforeMs = Date.now()
      there.depart(laptop)
      await vi.waitFor(() => expect(adas.told.map(({ status }) => status)).toEqual(['offline']), waiting)
      expect(Date.parse(adas.told[0]?.lastSeen ?? '')).toBeGreaterThanOrEqual(beforeMs)
      expect(there.saved.map(({ user }) => user)).toContain(bob)
    })

    it('[PRES1] a move to the other server does not flicker', async () => {
      const [here, there] = await start()
      const [ada = '', bob = ''] = users(2)
      const adas = here.arrive(ada)
      let bobs = here.arrive(bob)
      await vi.waitFor(async () => expect(await here.watch(adas, [bob])).toEqual(['online']), waiting)
      for (const [from, to] of [
        [here, there],
        [there, here],
      ] as const) {
        from.depart(bobs)
        // Leaves the rest of that moment to a slow machine.
        await pass(presenceBounds.graceMs / 8)
        bobs = to.arrive(bob)
        await pass(presenceBounds.graceMs * 2)
      }
      expect(adas.told).toEqual([])
    })

    it('[PRES2] nothing is told after the end of a watch, and those it was told are not followed any more', async () => {
      const [here, there] = await start()
      const [ada = '', bob = '', cleo = ''] = users(3)
      const adas = here.arrive(ada)
      await here.watch(adas, [bob, cleo])
      await here.watch(adas, [cleo])
      there.arrive(bob)
      // The barrier: what came before it in time would have been told by then.
      there.arrive(cleo)
      await vi.waitFor(() => expect(adas.told).toMatchObject([{ user: cleo, status: 'online' }]), waiting)
      here.depart(adas)
      await pass(presenceBounds.lingerMs)
      await vi.waitFor(() => expect(here.whereabouts?.followedCount ?? 0).toBe(0), waiting)
    })
  })
}
