/**
 * Runs the contract suite of live values within one process. Both servers of the suite are the same
 * server.
 */
import { LocalBusHub } from '../bus/bus-local.ts'
import { FastClock } from '../support/testing/fast-clock.ts'
import { describeLiveValues } from './live-values.suite.ts'
import { LiveServer } from './testing/live-servers.ts'

const clock = new FastClock(10)

describeLiveValues('in one process', {
  clock,
  open: async () => {
    const only = new LiveServer(clock, new LocalBusHub())
    return [only, only]
  },
})
