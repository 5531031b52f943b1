/**
 * Loads the local copy from the store and writes it there.
 *
 * Guarantee: one commit runs at a time. Each commit stores the cursor in one transaction with all
 * data that the cursor covers (rule CP1). Data that another client has cleared or replaced is never
 * overwritten.
 */
import type { ChatStore, CommitOutcome, ConversationRecord } from '../model/store.ts'
import type { Clock } from '../support/clock.ts'
import { createSerialQueue } from '../support/serial-queue.ts'
import type { LocalCopy } from './local-copy.ts'

/**
 * Time during which applied changes are collected before they are stored. They are stored even if
 * no cursor covers them yet.
 */
export const saveSoonMs = 100
/** Delay before the next write after the store failed. */
export const savePauseMs = 5_000

export interface ReplicaSaverOptions {
  readonly me: string
  readonly store: ChatStore
  readonly clock: Clock
  readonly copy: LocalCopy
  readonly onError: (error: unknown) => void
  /** Called with each conversation that is in the store but not in the local copy. */
  readonly onForeign: (record: ConversationRecord) => void
}

export class ReplicaSaver {
  readonly #options: ReplicaSaverOptions
  /** Generation of the stored data that this copy was last loaded from or written to. */
  #generation: string | undefined
  /**
   * True after another client cleared or replaced the stored data. Nothing is written until the
   * next first load.
   */
  #isDetached = false
  #saving: Promise<void> | undefined
  /** Runs one commit at a time, because each commit depends on the outcome of the previous one. */
  readonly #inOrder = createSerialQueue()
  #savedCursor: string | undefined
  #isSaveDue = false

  constructor(options: ReplicaSaverOptions) {
    this.#options = options
  }

  /** Fills the local copy with the stored data. Returns false if nothing was stored. */
  async load(): Promise<boolean> {
    const record = await this.#options.store.readReplica(this.#options.me)
    if (record === undefined || this.#options.copy.isStopped()) return false
    this.#savedCursor = record.cursor
    this.#generation = record.generation
    this.#options.copy.restore(record)
    return true
  }

  /** Waits for the running commits. */
  async idle(): Promise<void> {
    await this.#inOrder(() => Promise.resolve())
  }

  /**
   * Stores the whole local copy after a first load, replacing the generation `base` of the stored
   * data. Returns false when another client has replaced the data since.
   */
  async replaceAll(base: string | undefined): Promise<boolean> {
    this.#generation = base
    this.#isDetached = false
    try {
      return await this.#save(true)
    } catch (error) {
      // A failing store must not prevent the user from chatting.
      this.#options.onError(error)
      return true
    }
  }

  /**
   * Stores applied changes soon, without waiting for a cursor that covers them. A message leaves
   * the outbox when its change is applied, so it must be stored soon: otherwise a reload while
   * offline would not show it. If a resume repeats stored changes, they are ignored because of
   * their seq.
   */
  saveSoon(): void {
    if (this.#isSaveDue || this.#options.copy.isStopped()) return
    this.#isSaveDue = true
    this.#options.clock.after(saveSoonMs, () => {
      this.#isSaveDue = false
      this.saveLater()
    })
  }

  /** Stores all unsaved data in the background, now or after the running commit. */
  saveLater(): void {
    if (this.#saving !== undefined || this.#options.copy.isStopped()) return
    const again = (delayMs: number): void => {
      this.#saving = undefined
      if (this.isBehind && !this.#options.copy.isStopped()) this.#options.clock.after(delayMs, () => this.saveLater())
    }
    this.#saving = this.#save(false).then(
      () => again(saveSoonMs),
      (error: unknown) => {
        this.#options.onError(error)
        again(savePauseMs)
      },
    )
  }

  /** Stores all unsaved data. Call it when no further changes can arrive. */
  async flush(): Promise<void> {
    await this.#saving
    if (this.isBehind) await this.#save(false)
  }

  /** True when the local copy has data that is not stored yet. */
  get isBehind(): boolean {
    return !this.#isDetached && this.#options.copy.isAheadOf(this.#savedCursor)
  }

  #save(isWhole: boolean): Promise<boolean> {
    return this.#inOrder(() => this.#saveNow(isWhole))
  }

  /**
   * Stores the cursor and everything it covers in one transaction. Returns false when another
   * client has replaced the data.
   */
  async #saveNow(isWhole: boolean): Promise<boolean> {
    const { copy } = this.#options
    const { cursor } = copy
    if (cursor === undefined || copy.epoch === '' || this.#isDetached) return true
    const records = copy.takeChanges(isWhole)
    try {
      const outcome = await this.#options.store.commitReplica(this.#options.me, {
        epoch: copy.epoch,
        base: this.#generation,
        ...(!copy.hasForeign && { cursor }),
        ...records,
        ...(isWhole && { replace: true }),
      })
      if (outcome.kind === 'refused') return await this.#onRefused(outcome, isWhole)
      this.#generation = outcome.generation
      for (const record of outcome.foreign) this.#options.onForeign(record)
      if (!copy.hasForeign) this.#savedCursor = cursor
      return true
    } catch (error) {
      for (const record of [...records.conversations, ...records.removed]) copy.change(record)
      this.#savedCursor = undefined
      throw error
    }
  }

  /**
   * Handles a refused commit: another client cleared or replaced the stored data. Within the same
   * database epoch, commits the whole copy, which is then merged into the new data. After a change
   * of epoch or a sign-out, stops writing until the next first load.
   */
  async #onRefused(outcome: Extract<CommitOutcome, { kind: 'refused' }>, isWhole: boolean): Promise<boolean> {
    if (!isWhole && outcome.epoch === this.#options.copy.epoch) {
      this.#generation = outcome.generation
      return this.#saveNow(true)
    }
    this.#isDetached = true
    return false
  }
}
