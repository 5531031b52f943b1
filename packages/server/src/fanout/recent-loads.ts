/**
 * Loads of recent changes, shared by all who want them (rule LIM2): at most one under way for a conversation, and whoever
 * wants the same waits for it. Some conversations to a statement and few statements at a time, so that a storm leaves the
 * database room for those who sign in, send or look.
 */
import type { Id } from '@chorus/protocol'
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
} as const

export interface RecentLoadsOptions {
  /** The newest changes of each, down to the first that the holder of the position has. */
  readonly read: (
    wanted: readonly { readonly conversation: Id; readonly position: number }[],
    extent: { readonly atLeast: number; readonly atMost: number; readonly bytesMax: number },
  ) => Promise<Map<Id, LoggedChange[]>>
  /** Is it still wanted when its turn comes? */
  readonly isWanted: (conversation: Id) => boolean
  readonly epoch: () => string
  readonly onLoaded: (conversation: Id, changes: readonly LoggedChange[]) => void
}

interface Load {
  /** With the earliest position that somebody holds. */
  readonly positions: Map<Id, number>
  readonly done: Promise<void>
  readonly settle: (outcome: Promise<void>) => void
}

export class RecentLoads {
  readonly #options: RecentLoadsOptions
  /** The load under way, or waiting, for each conversation: at most one for each that is served. */
  readonly #loads = new Map<Id, Load>()
  /** Whose statement has not begun. */
  #waiting: Load[] = []
  #running = 0

  constructor(options: RecentLoadsOptions) {
    this.#options = options
  }

  /** Resolves when this conversation is loaded, together with others: mostly down to what the holder of the position has. */
  want(conversation: Id, position: number): Promise<void> {
    const known = this.#loads.get(conversation)
    if (known !== undefined) {
      known.positions.set(conversation, Math.min(position, known.positions.get(conversation) ?? position))
      return known.done
    }
    let load = this.#waiting.at(-1)
    if (load === undefined || load.positions.size >= recentLoadBounds.conversationsPerStatement) {
      load = openLoad()
      this.#waiting.push(load)
      // What is wanted within one turn goes together.
      setImmediate(() => this.#next())
    }
    load.positions.set(conversation, position)
    this.#loads.set(conversation, load)
    return load.done
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

  async #run({ positions }: Load): Promise<void> {
    const { read, isWanted, epoch, onLoaded } = this.#options
    const wanted = [...positions].flatMap(([conversation, position]) =>
      isWanted(conversation) ? [{ conversation, position }] : [],
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
  return { positions: new Map(), done, settle }
}
