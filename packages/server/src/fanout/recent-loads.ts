/**
 * Loads of recent changes, shared by all who want them (rule LIM2): at most one under way for a conversation, and whoever
 * wants the same waits for it. Some conversations to a statement and few statements at a time, so that a storm leaves the
 * database room for those who sign in, send or look. Where only the newest is lacking, a hint that is on its way mostly
 * brings it: that is waited for a moment.
 */
import type { Id } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { LoggedChange } from '../support/logged-change.ts'

export const recentLoadBounds = {
  /** Read however little is wanted: others may lack a little more. */
  changesMin: 16,
  /** Those who lack more share a read of their own (store/log-stretches.ts). */
  changesMax: 256,
  /** Text of each conversation. */
  bytesMax: 262_144,
  conversationsPerStatement: 50,
  statementsMax: 3,
  /** Longer than a gap is left to close by itself: what a repair reads is not read again. */
  hintWaitMs: 150,
} as const

export interface RecentLoadsOptions {
  /** The newest changes of each, down to the first that the holder of the position has. */
  readonly read: (
    wanted: readonly { readonly conversation: Id; readonly position: number }[],
    extent: { readonly atLeast: number; readonly atMost: number; readonly bytesMax: number },
  ) => Promise<Map<Id, LoggedChange[]>>
  readonly clock: Clock
  /** Is it still wanted when its turn comes? `newest`: only what leads up to this seq is. */
  readonly isWanted: (conversation: Id, newest: number | undefined) => boolean
  readonly epoch: () => string
  readonly onLoaded: (conversation: Id, changes: readonly LoggedChange[]) => void
}

interface Load {
  /** With the earliest position that somebody holds… */
  readonly positions: Map<Id, number>
  /** …and, of those where only the newest is lacking, how far they are to lead. */
  readonly newest: Map<Id, number>
  readonly done: Promise<void>
  readonly settle: (outcome: Promise<void>) => void
}

export class RecentLoads {
  readonly #options: RecentLoadsOptions
  /** The load under way, or waiting, for each conversation: at most one for each that is served. */
  readonly #loads = new Map<Id, Load>()
  /** Whose statement has not begun. */
  #waiting: Load[] = []
  /** Whose hints may still come. */
  #hoping: Load | undefined
  #running = 0

  constructor(options: RecentLoadsOptions) {
    this.#options = options
  }

  /**
   * Resolves when this conversation is loaded, together with others: mostly down to what the holder of the position has.
   *
   * @param newest - only what leads up to this seq is lacking: read unless a hint brings it first
   */
  want(conversation: Id, position: number, newest?: number): Promise<void> {
    const load = this.#loads.get(conversation) ?? (newest === undefined ? this.#nextLoad() : this.#hopingLoad())
    load.positions.set(conversation, Math.min(position, load.positions.get(conversation) ?? position))
    if (newest !== undefined) load.newest.set(conversation, Math.max(newest, load.newest.get(conversation) ?? 0))
    this.#loads.set(conversation, load)
    return load.done
  }

  /** The one that begins when there is room. */
  #nextLoad(): Load {
    const last = this.#waiting.at(-1)
    if (last !== undefined && last.positions.size < recentLoadBounds.conversationsPerStatement) return last
    const load = openLoad()
    this.#waiting.push(load)
    // What is wanted within one turn goes together.
    setImmediate(() => this.#next())
    return load
  }

  /** The one that begins when hints have had their time. */
  #hopingLoad(): Load {
    const { conversationsPerStatement, hintWaitMs } = recentLoadBounds
    if (this.#hoping !== undefined && this.#hoping.positions.size < conversationsPerStatement) return this.#hoping
    const load = openLoad()
    this.#hoping = load
    this.#options.clock.setTimer(() => {
      if (this.#hoping === load) this.#hoping = undefined
      this.#waiting.push(load)
      this.#next()
    }, hintWaitMs)
    return load
  }

  #next(): void {
    if (this.#running >= recentLoadBounds.statementsMax) return
    const load = this.#waiting.shift()
    if (load === undefined) return
    this.#running++
    load.settle(
      this.#run(load).finally(() => {
        this.#running--
        for (const conversation of load.positions.keys()) this.#loads.delete(conversation)
        this.#next()
      }),
    )
  }

  async #run({ positions, newest: lacking }: Load): Promise<void> {
    const { read, isWanted, epoch, onLoaded } = this.#options
    const wanted = [...positions].flatMap(([conversation, position]) =>
      isWanted(conversation, lacking.get(conversation)) ? [{ conversation, position }] : [],
    )
    if (wanted.length === 0) return
    const begunIn = epoch()
    const { changesMin, changesMax, bytesMax } = recentLoadBounds
    const newest = await read(wanted, { atLeast: changesMin, atMost: changesMax, bytesMax })
    // Feeds of another history have nothing to do with what was read.
    if (begunIn !== epoch()) return
    for (const [conversation, changes] of newest) onLoaded(conversation, changes)
  }
}

function openLoad(): Load {
  let settle: Load['settle'] = () => undefined
  const done = new Promise<void>((resolve) => {
    settle = resolve
  })
  // Whoever wants it hears of a failure; nobody else does.
  done.catch(() => undefined)
  return { positions: new Map(), newest: new Map(), done, settle }
}
