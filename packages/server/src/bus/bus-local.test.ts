import { LocalBusHub } from './bus-local.ts'
import { describeBus } from './bus.suite.ts'

describeBus('local', {
  open: async (count) => {
    const hub = new LocalBusHub()
    return Array.from({ length: count }, () => hub.join())
  },
  settle: () => new Promise((resolve) => setImmediate(() => setImmediate(resolve))),
})
