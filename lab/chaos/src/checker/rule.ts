/**
 * What a rule of the checker is, and what it answers. A verdict has three values, and the third is the important one:
 * a rule that saw nothing it could judge says `not judged`, never `kept`.
 */
import type { Micros } from '../history/index.ts'
import type { Facts } from './facts.ts'
import type { History } from './history.ts'

export type RuleId =
  | 'A1'
  | 'A2'
  | 'A3'
  | 'A4'
  | 'A5'
  | 'A6'
  | 'A7'
  | 'A8'
  | 'A9'
  | 'A10'
  | 'A11'
  | 'A12'
  | 'A13'
  | 'A14'
  | 'A15'
  | 'A16'
  | 'A17'

/** Bounds that a run may have of its own. The contract's are the defaults. */
export interface CheckSettings {
  /** From the acknowledgement to every attached stream, while no fault is active (TAIL1). */
  readonly tailBoundMs: number
  /** Added to every bound in time: the machine is shared with what is under test. */
  readonly slackMs: number
  /** From the acknowledgement of a revocation to the end of its connections (ACL2). */
  readonly revokeBoundMs: number
  readonly revokeBoundWithoutRedisMs: number
  /** How long presence may be wrong (PRES1). */
  readonly presenceBoundMs: number
  /** From the acknowledgement of a removal to the last live value. */
  readonly liveBoundMs: number
  /** A join older than this when a send began must have reached the member's streams. */
  readonly joinSettleMs: number
  /** What a server may hold more when all is quiet than after warm-up. */
  readonly rssGrowthMaxBytes: number
  readonly fdGrowthMax: number
  /** What it may hold more at any time, faults and paused clients included. */
  readonly rssPeakMaxBytes: number
  /** Witnesses kept per rule. */
  readonly witnessesMax: number
}

export const defaultSettings: CheckSettings = {
  tailBoundMs: 2_000,
  slackMs: 1_000,
  revokeBoundMs: 1_000,
  revokeBoundWithoutRedisMs: 30_000,
  presenceBoundMs: 30_000,
  liveBoundMs: 2_000,
  joinSettleMs: 5_000,
  rssGrowthMaxBytes: 96 * 1024 * 1024,
  fdGrowthMax: 64,
  rssPeakMaxBytes: 256 * 1024 * 1024,
  witnessesMax: 5,
}

/** Where it can be looked up, and what happened there. */
export interface Witness {
  readonly text: string
  /** `file:line` of the history. */
  readonly places: readonly string[]
  /** Seconds since the run began. */
  readonly atSeconds?: number
}

export type Verdict = 'kept' | 'broken' | 'not judged'

export interface RuleResult {
  readonly id: RuleId
  readonly name: string
  readonly verdict: Verdict
  /** What was judged, and how many of them. */
  readonly unit: string
  readonly judged: number
  readonly violations: number
  readonly witnesses: readonly Witness[]
  /** Why it was not judged, or what a reader of the verdict should know. */
  readonly note?: string
}

export interface Rule {
  readonly id: RuleId
  readonly name: string
  /** What `judged` counts. */
  readonly unit: string
  /** What must be in the history for the rule to judge anything. */
  readonly needs: string
  /** What it would not notice. */
  readonly blindTo: string
  check(facts: Facts, settings: CheckSettings, findings: Findings): void
}

export interface PlaceLike {
  readonly file: number
  readonly line: number
}

/** Collects what a rule finds; bounded. */
export class Findings {
  judged = 0
  violations = 0
  note: string | undefined
  readonly #history: History
  readonly #witnessesMax: number
  readonly #witnesses: Witness[] = []

  constructor(history: History, witnessesMax: number) {
    this.#history = history
    this.#witnessesMax = witnessesMax
  }

  /** One violation. The text is only made when it will be shown. */
  report(text: () => string, places: readonly PlaceLike[], t?: Micros): void {
    this.violations += 1
    if (this.#witnesses.length >= this.#witnessesMax) return
    this.#witnesses.push({
      text: text(),
      places: places.map((place) => this.#history.placeOf(place)),
      ...(t !== undefined && { atSeconds: this.#history.secondsOf(t) }),
    })
  }

  toResult({ id, name, unit, needs }: Rule): RuleResult {
    const verdict = this.violations > 0 ? 'broken' : this.judged > 0 ? 'kept' : 'not judged'
    const note = this.note ?? (verdict === 'not judged' ? `nothing to judge; needs ${needs}` : undefined)
    return {
      id,
      name,
      verdict,
      unit,
      judged: this.judged,
      violations: this.violations,
      witnesses: this.#witnesses,
      ...(note !== undefined && { note }),
    }
  }
}
