/**
 * One way to break the cluster: what it takes, how it is given back, and how soon everybody must have everything again.
 * `begin` resolves when the fault is in effect; `heal` when its cause is gone; `restore` puts back what was there before
 * (a server that was killed), which is no part of healing: clients must be well without it.
 */
import type { Random } from '../run/random.ts'
import type { Lab } from './lab.ts'

export type FaultKind = `F${number}`

/** What the seed has drawn for one injection. */
export interface Drawn {
  /** A server's index. */
  readonly server: number
  /** How long it lasts, before it is healed. */
  readonly forMs: number
  /** From 0 to 1, for whatever the fault makes of it. */
  readonly share: number
  /** What it is done to, in words. */
  readonly targets: readonly string[]
}

export interface LabShape {
  readonly servers: number
  readonly fronts: number
  /** Faults may last as long as they do in the plan; otherwise as short as still shows something. */
  readonly isLong: boolean
}

export interface Workload {
  pauseReaders(share: number, isPaused: boolean): void
}

export interface Fault {
  readonly kind: FaultKind
  readonly name: string
  readonly affects: readonly ('server' | 'redis' | 'postgres' | 'client' | 'clock')[]
  /** From heal to every client caught up. */
  readonly boundMs: number
  /** How often it comes among the others; 0: only in long runs. */
  readonly weight: number
  draw(random: Random, shape: LabShape): Drawn
  begin(lab: Lab, drawn: Drawn, workload: Workload): Promise<void>
  heal(lab: Lab, drawn: Drawn, workload: Workload): Promise<void>
  restore?(lab: Lab, drawn: Drawn): Promise<void>
  /** Why it cannot be done here. */
  missing?(): string | undefined
}

/** Draws what most faults need: one server and a duration. */
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

/** The same for what all servers share. */
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
