/**
 * The interface of a fault of the chaos test: how to break the cluster, how to heal it, and how
 * soon all clients must have caught up. `begin` resolves when the fault is in effect, `heal` when
 * its cause is gone. `restore` brings back lost parts (such as a killed server). It is not part of
 * healing, because clients must recover without it.
 */
import type { Random } from '../random/random.ts'
import type { Lab } from './lab.ts'

export type FaultKind = `F${number}`

/** Random parameters of one injection of a fault, drawn from the run's seed. */
export interface Drawn {
  /** Index of the server that the fault affects. */
  readonly server: number
  /** Time from the start of the fault to its healing. */
  readonly forMs: number
  /** Random number from 0 to 1 that the fault may use. */
  readonly share: number
  /** Names of the parts of the cluster that the fault breaks. */
  readonly targets: readonly string[]
}

export interface LabShape {
  readonly servers: number
  readonly fronts: number
  /**
   * If true, faults last as long as planned. If false, they are as short as possible while still
   * having an effect.
   */
  readonly isLong: boolean
}

export interface Workload {
  pauseReaders(share: number, isPaused: boolean): void
}

export interface Fault {
  readonly kind: FaultKind
  readonly name: string
  readonly affects: readonly ('server' | 'redis' | 'postgres' | 'client' | 'clock')[]
  /** Maximum time between the end of the fault and the moment when every client has caught up. */
  readonly boundMs: number
  /** Relative frequency of the fault. With 0, it occurs only in long runs. */
  readonly weight: number
  draw(random: Random, shape: LabShape): Drawn
  begin(lab: Lab, drawn: Drawn, workload: Workload): Promise<void>
  heal(lab: Lab, drawn: Drawn, workload: Workload): Promise<void>
  restore?(lab: Lab, drawn: Drawn): Promise<void>
  /** Returns why this fault cannot run on this machine; undefined if it can. */
  missing?(): string | undefined
}

/**
 * Returns a function that draws a random server and a random duration. Most faults need no other
 * parameters.
 */
export function drawServer(
  minMs: number,
  maxMs: number,
  longMaxMs = maxMs,
): (random: Random, shape: LabShape) => Drawn {
  return (random, { servers, isLong }) => {
    const server = random.int(0, servers - 1)
    return {
      server,
      forMs: random.int(minMs, isLong ? longMaxMs : maxMs),
      share: random.next(),
      targets: [`server-${server + 1}`],
    }
  }
}

/**
 * Returns a function that draws a random duration, for a fault of a part that all servers share.
 */
export function drawShared(
  target: string,
  minMs: number,
  maxMs: number,
  longMaxMs = maxMs,
): (random: Random, shape: LabShape) => Drawn {
  return (random, shape) => ({ ...drawServer(minMs, maxMs, longMaxMs)(random, shape), targets: [target] })
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
