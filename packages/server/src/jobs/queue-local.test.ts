import { expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { LocalQueue } from './queue-local.ts'
import { describeQueue } from './queue.suite.ts'

describeQueue('local', async (work) => new LocalQueue({ work, clock: systemClock }))

it('[LIM1] the local queue keeps one entry per waiting key and drops excess jobs', async () => {
  const worked: string[] = []
  let go: () => void = () => undefined
  const gate = new Promise<void>((resolve) => (go = resolve))
  const queue = new LocalQueue({
    work: async ({ key }) => {
      await gate
      worked.push(key)
    },
    clock: new ManualClock(),
    concurrency: 1,
    waitingMax: 2,
  })
  queue.add([{ kind: 'webhook', key: 'running' }])
  for (const key of ['a', 'a', 'b', 'c']) queue.add([{ kind: 'webhook', key }])
  go()
  await expect.poll(() => worked).toEqual(['running', 'a', 'b'])
  await queue.close()
})
