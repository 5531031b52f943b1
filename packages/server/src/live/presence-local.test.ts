/**
 * Runs the contract suite of presence within one process. Both servers of the suite are the same
 * server.
 */
import { LocalBusHub } from '../bus/bus-local.ts'
import { FastClock } from '../support/testing/fast-clock.ts'
import { describePresence } from './presence.suite.ts'
import { PresenceServer } from './testing/presence-servers.ts'

const clock = new FastClock(10)

describePresence('in one process', {
  clock,
  open: async () => {
    const only = new PresenceServer(clock, new LocalBusHub())
    return [only, only]
  },
})
