/**
 * Faults F4 to F7 and F12 of the chaos test: Redis is killed, emptied, cut off from its
 * subscribers, or failed over to a lagging replica. Or its publishes are lost, doubled, delayed and
 * reordered.
 */
import type { Redis } from '@chorus/testkit'
import { drawServer, drawShared, wait } from './fault.ts'
import type { Fault } from './fault.ts'
import type { Lab } from './lab.ts'

export const killRedis: Fault = {
  kind: 'F4',
  name: 'Redis killed and started empty',
  affects: ['redis'],
  boundMs: 2_000,
  weight: 2,
  draw: drawShared('redis', 200, 3_000, 30_000),
  begin: (lab) => lab.primary.kill9(),
  heal: (lab) => lab.primary.start({ isEmpty: true }),
}

export const flushRedis: Fault = {
  kind: 'F4',
  name: 'FLUSHALL',
  affects: ['redis'],
  boundMs: 2_000,
  weight: 1,
  draw: drawShared('redis', 0, 0),
  begin: async (lab) => void (await lab.primary.command('FLUSHALL')),
  heal: async () => undefined,
}

export const freezeRedis: Fault = {
  kind: 'F4',
  name: 'Redis frozen',
  affects: ['redis'],
  boundMs: 2_000,
  weight: 1,
  draw: drawShared('redis', 500, 3_000, 10_000),
  begin: async (lab) => lab.primary.pause(),
  heal: async (lab) => lab.primary.resume(),
}

export const killSubscribers: Fault = {
  kind: 'F5',
  name: 'subscriber connections killed',
  affects: ['redis'],
  boundMs: 2_000,
  weight: 2,
  draw: drawShared('subscribers', 0, 0),
  begin: async (lab) => void (await lab.subscribed.command('CLIENT', 'KILL', 'TYPE', 'pubsub')),
  heal: async () => undefined,
}

const junkBytes = 262_144
const junkCount = 160

export const overrunSubscribers: Fault = {
  kind: 'F6',
  name: 'subscriber frozen while 40 MB are published',
  affects: ['redis', 'server'],
  boundMs: 5_000,
  weight: 1,
  draw: drawServer(500, 1_500),
  async begin(lab, { server }) {
    const { subscribed } = lab
    await subscribed.command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 4194304 1048576 1')
    lab.server(server).freeze()
    const channels = await channelsOf(subscribed)
    const junk = 'x'.repeat(junkBytes)
    for (let count = 0; count < junkCount && channels.length > 0; count += 1) {
      // Ignores a late or missing response: Redis may be busy closing the connection of the frozen
      // subscriber, and only the publish matters.
      await lab.primary.command('SPUBLISH', channels[count % channels.length] ?? '', junk).catch(() => undefined)
    }
  },
  async heal(lab, { server }) {
    lab.server(server).thaw()
    await lab.subscribed
      .command('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 33554432 8388608 60')
      .catch(() => undefined)
  },
}

async function channelsOf(redis: Redis): Promise<readonly string[]> {
  return (await redis.command('PUBSUB', 'SHARDCHANNELS')) as string[]
}

/** Time for which the replica receives nothing before it becomes the primary. */
const lagMs = 700

export const failOverRedis: Fault = {
  kind: 'F7',
  name: 'Redis failed over to a lagging replica',
  affects: ['redis'],
  boundMs: 5_000,
  weight: 1,
  draw: drawShared('redis', 0, 500),
  async begin(lab) {
    lab.replication.shape({ forward: { isStalled: true }, back: { isStalled: true } })
    await wait(lagMs)
    await lab.failOverRedis()
  },
  heal: async (lab) => lab.replication.heal(),
  restore: (lab: Lab) => lab.rejoinRedis(),
}

export const lieAboutPublishes: Fault = {
  kind: 'F12',
  name: 'publishes lost, doubled, late and reordered',
  affects: ['redis'],
  boundMs: 2_000,
  weight: 2,
  draw: drawServer(2_000, 4_000),
  begin: async (lab, { server, share }) => {
    lab.publishFaults(server).rule = {
      lostShare: 0.2 + 0.2 * share,
      doubledShare: 0.2,
      lateShare: 0.3,
      lateMs: 2_000,
    }
  },
  heal: async (lab, { server }) => {
    lab.publishFaults(server).rule = {}
  },
}

export const losePublishes: Fault = {
  kind: 'F12',
  name: 'every publish of a server lost',
  affects: ['redis'],
  boundMs: 2_000,
  weight: 1,
  draw: drawServer(1_500, 3_000),
  begin: async (lab, { server }) => {
    lab.publishFaults(server).rule = { lostShare: 1 }
  },
  heal: async (lab, { server }) => {
    lab.publishFaults(server).rule = {}
  },
}
