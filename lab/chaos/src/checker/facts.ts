/**
 * A history, together with derived data that several rules need. Each part is computed once, on
 * first use.
 */
import { type FinalRead, readFinals } from './final-reads.ts'
import {
  type FaultSpan,
  type FaultWindow,
  disturbances,
  faultSpans,
  faultWindows,
  stallSpans,
} from './fault-windows.ts'
import type { History } from './history.ts'
import { Memberships } from './memberships.ts'
import { type StreamWalk, walkStreams } from './walk-streams.ts'

export class Facts {
  readonly history: History
  #memberships: Memberships | undefined
  #walk: StreamWalk | undefined
  #finals: readonly FinalRead[] | undefined
  #spans: readonly FaultSpan[] | undefined
  #windows: readonly FaultWindow[] | undefined
  #disturbed: readonly FaultWindow[] | undefined
  #stalls: readonly FaultSpan[] | undefined

  constructor(history: History) {
    this.history = history
  }

  get memberships(): Memberships {
    this.#memberships ??= new Memberships(this.history)
    return this.#memberships
  }

  get walk(): StreamWalk {
    this.#walk ??= walkStreams(this.history, this.memberships)
    return this.#walk
  }

  get finals(): readonly FinalRead[] {
    this.#finals ??= readFinals(this.history)
    return this.#finals
  }

  get faultSpans(): readonly FaultSpan[] {
    this.#spans ??= faultSpans(this.history)
    return this.#spans
  }

  get faultWindows(): readonly FaultWindow[] {
    this.#windows ??= faultWindows(this.faultSpans)
    return this.#windows
  }

  /** Periods in which a fault was active or a workload process of the chaos test was paused. */
  get disturbed(): readonly FaultWindow[] {
    this.#disturbed ??= disturbances(this.history, this.faultSpans)
    return this.#disturbed
  }

  get stalls(): readonly FaultSpan[] {
    this.#stalls ??= stallSpans(this.history)
    return this.#stalls
  }
}
