import { expect, it } from 'vitest'
import { Lifecycle } from './lifecycle.ts'
import { systemClock } from './clock.ts'
import { ManualClock } from './testing/manual-clock.ts'

function record(clock = systemClock) {
  const events: string[] = []
  const lifecycle = new Lifecycle(clock, (part, problem) => events.push(`${part}: ${String(problem)}`))
  const part = (name: string, stop: () => Promise<void> = async () => undefined) => ({
    name,
    start: async () => void events.push(`start ${name}`),
    stop: async () => {
      events.push(`stop ${name}`)
      await stop()
    },
  })
  return { events, lifecycle, part }
}

it('starts the parts of a server in order and stops them in reverse, despite errors', async () => {
  const { events, lifecycle, part } = record()
  await lifecycle.start(part('database'))
  await lifecycle.start(part('log', () => Promise.reject(new Error('broken'))))
  await lifecycle.start(part('http'))
  expect(await lifecycle.stop(1_000)).toEqual([])
  expect(events).toEqual([
    'start database',
    'start log',
    'start http',
    'stop http',
    'stop log',
    'log: Error: broken',
    'stop database',
  ])
})

it('stops the other parts of a server when one exceeds the stop deadline', async () => {
  const clock = new ManualClock()
  const { events, lifecycle, part } = record(clock)
  await lifecycle.start(part('database'))
  await lifecycle.start(part('stuck', () => new Promise(() => undefined)))
  const stopping = lifecycle.stop(5_000)
  clock.advance(5_000)
  expect(await stopping).toEqual(['stuck'])
  expect(events).toContain('stop database')
  expect(events).toContain('stuck: Error: did not stop within 5000 ms')
})

it('does not stop a part of the server whose start failed', async () => {
  const { events, lifecycle, part } = record()
  await lifecycle.start(part('database'))
  const failing = { ...part('http'), start: () => Promise.reject(new Error('port taken')) }
  await expect(lifecycle.start(failing)).rejects.toThrow('port taken')
  await lifecycle.stop(1_000)
  expect(events).toEqual(['start database', 'stop database'])
})
