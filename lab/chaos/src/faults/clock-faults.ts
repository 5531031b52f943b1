/** Fault F15 of the chaos test: the wall clock of one server is wrong by an hour, and jumps. */
import { existsSync } from 'node:fs'
import { fakeTimeLibrary } from './fake-clock.ts'
import { drawServer, wait } from './fault.ts'
import type { Fault } from './fault.ts'

const hourSeconds = 3_600

export const wrongClock: Fault = {
  kind: 'F15',
  name: 'clock of a server an hour off, and jumping',
  affects: ['clock'],
  boundMs: 1_000,
  weight: 1,
  draw: (random, shape) => ({ ...drawServer(1_000, 3_000)(random, shape), targets: [`server-${shape.servers}`] }),
  async begin(lab, { share }) {
    lab.clock?.set(share < 0.5 ? -hourSeconds : hourSeconds)
    await wait(500)
    lab.clock?.set(share < 0.5 ? -90 : 90)
  },
  heal: async (lab) => lab.clock?.set(0),
  missing: () =>
    existsSync(fakeTimeLibrary) ? undefined : 'libfaketime is not installed (Debian: apt-get install faketime)',
}
