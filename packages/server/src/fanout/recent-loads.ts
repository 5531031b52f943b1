/**
 * Loads of recent changes, shared by all who want them (rule LIM2): at most one under way for a conversation, and whoever
 * wants the same waits for it. Some conversations to a statement and few statements at a time, so that a storm leaves the
 * database room for those who sign in, send or look.
 */
import type { Id } from '@chorus/protocol'
import type { LoggedChange } from '../support/logged-change.ts'

export const recentLoadBounds = {
  /** Who was away for a moment lacks fewer; those who lack more share a read of their own. */
  changesMax: 48,
  conversationsPerStatement: 50,
  statementsMax: 3,
} as const

export interface RecentLoadsOptions {
  readonly read: (conversations: readonly Id[], limit: number) => Promise<Map<Id, LoggedChange[]>>
  /** Is it still wanted when its turn comes? */
  readonly isWanted: (conversation: Id) => boolean
  readonly epoch: () => string
  readonly onLoaded: (conversation: Id, changes: readonly LoggedChange[]) => void
}

interface Load {
  readonly conversations: Set<Id>
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

  /** Resolves when this conversation is loaded, together with others. */
  want(conversation: Id): Promise<void> {
    const known = this.#loads.get(conversation)
    if (known !== undefined) return known.done
    let load = this.#waiting.at(-1)
    if (load === undefined || load.conversations.size >= recentLoadBounds.conversationsPerStatement) {
      load = openLoad()
      this.#waiting.push(load)
      // What is wanted within one turn goes together.
      setImmediate(() => this.#next())
    }
    load.conversations.add(conversation)
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
        for (const conversation of load.conversations) this.#loads.delete(conversation)
        this.#next()
      }),
    )
  }

  async #run({ conversations }: Load): Promise<void> {
    const { read, isWanted, epoch, onLoaded } = this.#options
    const wanted = [...conversations].filter((conversation) => isWanted(conversation))
    if (wanted.length === 0) return
    const begunIn = epoch()
    const newest = await read(wanted, recentLoadBounds.changesMax)
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
  return { conversations: new Set(), done, settle }
}
