/**
 * Faults F11, F13, F14 and F16 of the chaos test: connections are silent in one or both directions,
 * half-open (dead without notice) or slow. Or client connections are cut, one by one or all at
 * once.
 */
import type { FaultProxy } from '../proxy/fault-proxy.ts'
import type { Random } from '../random/random.ts'
import { drawServer } from './fault.ts'
import type { Drawn, Fault, LabShape } from './fault.ts'
import type { Lab, LinkName } from './lab.ts'

const silence = { forward: { isStalled: true }, back: { isStalled: true } } as const

function partition(
  name: string,
  purposes: readonly LinkName[],
  affects: Fault['affects'],
  weight: number,
  rules: Parameters<FaultProxy['shape']>[0] = silence,
): Fault {
  return {
    kind: 'F11',
    name,
    affects,
    boundMs: 3_000,
    weight,
    draw: drawServer(1_500, 4_000, 15_000),
    begin: async (lab, { server }) => {
      for (const purpose of purposes) lab.link(purpose, server).shape(rules)
    },
    heal: async (lab, { server }) => {
      for (const purpose of purposes) lab.link(purpose, server).heal()
    },
  }
}

export const cutOffRedis = partition('a server cut off from Redis', ['publish', 'subscribe'], ['redis'], 2)
export const cutOffPostgres = partition('a server cut off from Postgres', ['database'], ['postgres'], 2)
export const cutOffBoth = partition(
  'a server cut off from Redis and Postgres',
  ['publish', 'subscribe', 'database'],
  ['redis', 'postgres'],
  1,
)
export const deafToRedis = partition('a server receives nothing from Redis', ['publish', 'subscribe'], ['redis'], 1, {
  back: { isStalled: true },
})
export const muteToPostgres = partition('Postgres receives nothing from a server', ['database'], ['postgres'], 1, {
  forward: { isStalled: true },
})

export const halfOpenRedis: Fault = {
  kind: 'F11',
  name: 'connections of a server to Redis half-open',
  affects: ['redis'],
  boundMs: 3_000,
  weight: 1,
  draw: drawServer(0, 0),
  begin: async (lab, { server }) => {
    lab.link('publish', server).sever()
    lab.link('subscribe', server).sever()
  },
  heal: async () => undefined,
}

/**
 * Draws one of the proxies in front of the balancer at random. A part of the clients connects
 * through it.
 */
function drawFront(minMs: number, maxMs: number): (random: Random, shape: LabShape) => Drawn {
  return (random, { fronts }) => {
    const front = random.int(0, fronts - 1)
    return { server: front, forMs: random.int(minMs, maxMs), share: random.next(), targets: [`front ${front + 1}`] }
  }
}

function frontOf(lab: Lab, { server }: Drawn): FaultProxy {
  const front = lab.fronts[server]
  if (front === undefined) throw new Error(`unable to find front door ${server}`)
  return front
}

export const resetClients: Fault = {
  kind: 'F13',
  name: 'client connections reset',
  affects: ['client'],
  boundMs: 5_000,
  weight: 2,
  draw: drawFront(0, 0),
  begin: async (lab, drawn) => void frontOf(lab, drawn).reset(0.3 + 0.7 * drawn.share),
  heal: async () => undefined,
}

export const stallClients: Fault = {
  kind: 'F13',
  name: 'client connections silent for a while',
  affects: ['client'],
  boundMs: 5_000,
  weight: 1,
  draw: drawFront(1_000, 4_000),
  begin: async (lab, drawn) => frontOf(lab, drawn).shape(silence),
  heal: async (lab, drawn) => frontOf(lab, drawn).heal(),
}

export const slowClients: Fault = {
  kind: 'F13',
  name: 'client connections at 56 kbit/s',
  affects: ['client'],
  boundMs: 5_000,
  weight: 1,
  draw: drawFront(2_000, 4_000),
  begin: async (lab, drawn) =>
    frontOf(lab, drawn).shape({
      forward: { bytesPerSecond: 7_000, latencyMs: 100, jitterMs: 50 },
      back: { bytesPerSecond: 7_000, latencyMs: 100, jitterMs: 50 },
    }),
  heal: async (lab, drawn) => frontOf(lab, drawn).heal(),
}

export const cutClients: Fault = {
  kind: 'F13',
  name: 'client connections cut in the middle of an event',
  affects: ['client'],
  boundMs: 5_000,
  weight: 1,
  draw: drawFront(1_500, 3_000),
  begin: async (lab, drawn) =>
    frontOf(lab, drawn).shape({ back: { cutAfterBytes: 300 + Math.floor(drawn.share * 20_000) } }),
  heal: async (lab, drawn) => frontOf(lab, drawn).heal(),
}

/**
 * Clients with Server-Sent Events notice a dead connection only by the missing heartbeats. So the
 * maximum recovery time is longer than the time after which these clients give up a silent
 * connection.
 */
export const halfOpenClients: Fault = {
  kind: 'F13',
  name: 'client connections half-open',
  affects: ['client'],
  boundMs: 45_000,
  weight: 0,
  draw: drawFront(0, 0),
  begin: async (lab, drawn) => void frontOf(lab, drawn).sever(),
  heal: async () => undefined,
}

export const pauseReaders: Fault = {
  kind: 'F14',
  name: 'clients that do not read',
  affects: ['client'],
  boundMs: 5_000,
  weight: 1,
  draw: (random, shape) => ({
    ...drawServer(2_000, 4_000, 15_000)(random, shape),
    targets: ['clients without the SDK'],
  }),
  begin: async (_lab, { share }, workload) => workload.pauseReaders(0.2 + 0.4 * share, true),
  heal: async (_lab, _drawn, workload) => workload.pauseReaders(1, false),
}

export const cutEverybody: Fault = {
  kind: 'F16',
  name: 'all clients cut off at once',
  affects: ['client'],
  boundMs: 10_000,
  weight: 1,
  draw: (random, shape) => ({ ...drawServer(0, 0)(random, shape), targets: ['every client'] }),
  begin: async (lab) => {
    for (const front of lab.fronts) front.reset()
  },
  heal: async () => undefined,
}
