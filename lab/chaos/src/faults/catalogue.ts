/**
 * The list of all faults of the chaos test, including pairs of faults at the same time. Also lists
 * the planned faults that no run injects.
 */
import { wrongClock } from './clock-faults.ts'
import type { Drawn, Fault, LabShape } from './fault.ts'
import * as network from './network-faults.ts'
import * as postgres from './postgres-faults.ts'
import * as redis from './redis-faults.ts'
import * as server from './server-faults.ts'

const single: readonly Fault[] = [
  ...Object.values(server),
  ...Object.values(redis),
  ...Object.values(postgres),
  ...Object.values(network),
  wrongClock,
]

/**
 * Pairs of faults that are injected at the same time. Each fault breaks a different part, so that
 * they do not interfere.
 */
const pairs: readonly (readonly [Fault, Fault])[] = [
  [server.killServer, redis.killRedis],
  [server.killServer, network.cutEverybody],
  [server.freezeServer, redis.killSubscribers],
  [redis.killRedis, postgres.killPostgres],
  [redis.lieAboutPublishes, postgres.cutAtCommit],
  [network.cutOffRedis, network.resetClients],
  [redis.flushRedis, network.cutOffPostgres],
]

export const twoAtOnce: readonly Fault[] = pairs.map(([first, second]) => ({
  kind: 'F21',
  name: `${first.name}, and ${second.name}`,
  affects: [...new Set([...first.affects, ...second.affects])],
  boundMs: 10_000,
  weight: 0.4,
  draw(random, shape: LabShape): Drawn {
    const [one, other] = [first.draw(random, shape), second.draw(random, shape)]
    return {
      ...one,
      forMs: Math.max(one.forMs, other.forMs),
      targets: [...new Set([...one.targets, ...other.targets])],
    }
  },
  async begin(lab, drawn, workload) {
    await Promise.all([first.begin(lab, drawn, workload), second.begin(lab, drawn, workload)])
  },
  async heal(lab, drawn, workload) {
    await Promise.all([first.heal(lab, drawn, workload), second.heal(lab, drawn, workload)])
  },
  async restore(lab, drawn) {
    await first.restore?.(lab, drawn)
    await second.restore?.(lab, drawn)
  },
}))

export const faults: readonly Fault[] = [...single, ...twoAtOnce]

/** Planned faults that no run injects, with the reason. */
export const notRun: readonly { readonly kind: string; readonly why: string }[] = [
  { kind: 'F10 (disk full)', why: 'needs its own file system; the read-only fault replaces it' },
  { kind: 'F13 (packet loss)', why: 'TCP repairs it; the faults for rate, latency and cuts replace it' },
  { kind: 'F17', why: 'is not scheduled: members and sessions come and go all the time in every run' },
  { kind: 'F19', why: 'the embedded database has no cluster; it has its own tests' },
]
