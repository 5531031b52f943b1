/**
 * Contract test suite for presence. Runs for one process (presence-local.test.ts) and across
 * servers (presence-store-redis.test.ts).
 */
import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Clock } from '../support/clock.ts'
import { presenceLimits } from './presence-tracker.ts'
import type { PresenceServer } from './testing/presence-servers.ts'

export interface PresenceSuiteOptions {
  readonly clock: Clock
  /** Opens two servers that exchange presence. Within one process, both are the same server. */
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

    it('[PRES2] sends a change of presence only to watchers, at whichever server', async () => {
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

    it('[PRES1] finds the presence of a user at another server; the most active status wins', async () => {
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

    it('[PRES1] reports a user offline with a last-seen time, seconds after the last connection closed', async () => {
      const [here, there] = await start()
      const [ada = '', bob = ''] = users(2)
      const adas = here.arrive(ada)
      const [phone, laptop] = [here.arrive(bob), there.arrive(bob)]
      await vi.waitFor(async () => expect(await here.watch(adas, [bob])).toEqual(['online']), waiting)
      here.depart(phone)
      await pass(presenceLimits.graceMs * 2)
      expect(adas.told).toEqual([])
      const beforeMs = Date.now()
      there.depart(laptop)
      await vi.waitFor(() => expect(adas.told.map(({ status }) => status)).toEqual(['offline']), waiting)
      expect(Date.parse(adas.told[0]?.lastSeen ?? '')).toBeGreaterThanOrEqual(beforeMs)
      expect(there.saved.map(({ user }) => user)).toContain(bob)
    })

    it('[PRES1] a user who moves to another server is not reported offline', async () => {
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
        // Waits a fraction of the grace time, so that enough of it remains on a slow machine.
        await pass(presenceLimits.graceMs / 8)
        bobs = to.arrive(bob)
        await pass(presenceLimits.graceMs * 2)
      }
      expect(adas.told).toEqual([])
    })

    it('[PRES2] stops sending presence and following the user when a watch ends', async () => {
      const [here, there] = await start()
      const [ada = '', bob = '', cleo = ''] = users(3)
      const adas = here.arrive(ada)
      await here.watch(adas, [bob, cleo])
      await here.watch(adas, [cleo])
      there.arrive(bob)
      // If Bob's earlier change had been sent, it would have arrived before Cleo's change.
      there.arrive(cleo)
      await vi.waitFor(() => expect(adas.told).toMatchObject([{ user: cleo, status: 'online' }]), waiting)
      here.depart(adas)
      await pass(presenceLimits.lingerMs)
      await vi.waitFor(() => expect(here.presenceStore?.followedCount ?? 0).toBe(0), waiting)
    })
  })
}
