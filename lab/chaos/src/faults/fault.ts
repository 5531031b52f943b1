/**
 * The interface of a fault: how to break the cluster, how to heal it, and how soon all clients must
 * have caught up. `begin` resolves when the fault is in effect, `heal` when its cause is gone.
 * `restore` brings back lost parts (such as a killed server). It is not part of healing: clients
 * must recover without it.
 */
import type { Random } from '../random/random.ts'
import type { Lab } from './lab.ts'

export type FaultKind = `F${number}`

/** Parameters of one injection, drawn from the seed. */
export interface Drawn {
  /** Index of the server. */
  readonly server: number
  /** Time from the start of the fault to its healing. */
  readonly forMs: number
  /** Random number from 0 to 1, for the fault's own use. */
  readonly share: number
  /** Names of the parts that the fault breaks. */
  readonly targets: readonly string[]
}

export interface LabShape {
  readonly servers: number
  readonly fronts: number
  /**
   * If true, faults last as long as the plan says. If false, they are as short as possible while
   * still showing something.
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
  /** Maximum time from healing until every client has caught up. */
  readonly boundMs: number
  /** Relative frequency of the fault. 0 means: only in long runs. */
  readonly weight: number
  draw(random: Random, shape: LabShape): Drawn
  begin(lab: Lab, drawn: Drawn, workload: Workload): Promise<void>
  heal(lab: Lab, drawn: Drawn, workload: Workload): Promise<void>
  restore?(lab: Lab, drawn: Drawn): Promise<void>
  /** Returns the reason if the fault cannot run on this machine. */
  missing?(): string | undefined
}

/** Returns a function that draws one server and a duration. Most faults need no more. */
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

/** Returns a function that draws a duration for a fault of a part that all servers share. */
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
