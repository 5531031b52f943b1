/**
 * Loads recent changes from the database, shared by all callers (rule LIM2). Each conversation has
 * at most one load in progress; later callers wait for the same load.
 *
 * One statement reads several conversations, and only a few statements run at a time. So the
 * database keeps capacity for other requests when many clients reconnect at once. When only the
 * newest changes are missing, a hint over Redis usually brings them, so the load first waits a
 * moment.
 */
import type { Id } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { LoggedChange } from '../support/logged-change.ts'

export const recentLoadLimits = {
  /**
   * Minimum number of changes to read for a conversation, because other clients may have missed a
   * few more than this one.
   */
  changesMin: 16,
  /**
   * Maximum number of changes to read for a conversation. Clients that have missed more share
   * another read (catch-up/log-segment-cache.ts).
   */
  changesMax: 256,
  /** Maximum size of the text to read for a conversation. */
  bytesMax: 262_144,
  conversationsPerStatement: 50,
  statementsMax: 3,
  /**
   * Time to wait for a hint over Redis. Longer than `gapWaitMs`, so that changes which the feed
   * reads to close a gap are not read again.
   */
  hintWaitMs: 150,
} as const

export interface RecentChangesLoaderOptions {
  /**
   * Reads the newest changes of each conversation, back to the first one that a client at
   * `position` already has.
   */
  readonly read: (
    wanted: readonly { readonly conversation: Id; readonly position: number }[],
    extent: { readonly atLeast: number; readonly atMost: number; readonly bytesMax: number },
  ) => Promise<Map<Id, LoggedChange[]>>
  readonly clock: Clock
  /**
   * Returns whether a load is still needed when its statement begins. With `newest`, only the
   * changes up to that seq are needed.
   */
  readonly isWanted: (conversation: Id, newest: number | undefined) => boolean
  readonly epoch: () => string
  readonly onLoaded: (conversation: Id, changes: readonly LoggedChange[]) => void
}

interface Load {
  /** Earliest cursor position of the waiting clients, for each conversation. */
  readonly positions: Map<Id, number>
  /**
   * Seq up to which changes are needed, for each conversation of which only the newest changes are
   * missing.
   */
  readonly newest: Map<Id, number>
  readonly done: Promise<void>
  readonly settle: (outcome: Promise<void>) => void
}

export class RecentChangesLoader {
  readonly #options: RecentChangesLoaderOptions
  /**
   * The load in progress or waiting for each conversation; at most one for each served
   * conversation.
   */
  readonly #loads = new Map<Id, Load>()
  /** Loads whose statement has not begun yet. */
  #waiting: Load[] = []
  /** The load that still waits, because hints over Redis may bring its changes. */
  #hoping: Load | undefined
  #running = 0

  constructor(options: RecentChangesLoaderOptions) {
    this.#options = options
  }

  /**
   * Loads a conversation, together with others. Resolves when it is loaded, usually back to the
   * first change that a client at `position` already has.
   *
   * @param newest - set when only changes up to this seq are missing: they are read unless a hint
   *   brings them first
   */
  want(conversation: Id, position: number, newest?: number): Promise<void> {
    const load = this.#loads.get(conversation) ?? (newest === undefined ? this.#nextLoad() : this.#hopingLoad())
    load.positions.set(conversation, Math.min(position, load.positions.get(conversation) ?? position))
    if (newest !== undefined) load.newest.set(conversation, Math.max(newest, load.newest.get(conversation) ?? 0))
    this.#loads.set(conversation, load)
    return load.done
  }

  /** Returns the load that begins as soon as another statement may run. */
  #nextLoad(): Load {
    const last = this.#waiting.at(-1)
    if (last !== undefined && last.positions.size < recentLoadLimits.conversationsPerStatement) return last
    const load = openLoad()
    this.#waiting.push(load)
    // Conversations requested within one turn of the event loop share a statement.
    setImmediate(() => this.#next())
    return load
  }

  /** Returns the load that begins after the time to wait for hints. */
  #hopingLoad(): Load {
    const { conversationsPerStatement, hintWaitMs } = recentLoadLimits
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
    if (this.#running >= recentLoadLimits.statementsMax) return
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
    const { changesMin, changesMax, bytesMax } = recentLoadLimits
    const newest = await read(wanted, { atLeast: changesMin, atMost: changesMax, bytesMax })
    // The result belongs to an earlier database epoch.
    if (begunIn !== epoch()) return
    for (const [conversation, changes] of newest) onLoaded(conversation, changes)
  }
}

function openLoad(): Load {
  let settle: Load['settle'] = () => undefined
  const done = new Promise<void>((resolve) => {
    settle = resolve
  })
  // The callers handle the failure; this prevents an unhandled rejection.
  done.catch(() => undefined)
  return { positions: new Map(), newest: new Map(), done, settle }
}
