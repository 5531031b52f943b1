/**
 * The interface of a checker rule, and its result. A verdict has three values. A rule that found
 * nothing to judge returns `not judged`, never `kept`.
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

/** Limits that a run may override. The defaults are those of the spec. */
export interface CheckSettings {
  /**
   * Maximum time from the acknowledgement to delivery on every attached stream, while no fault is
   * active (TAIL1).
   */
  readonly tailBoundMs: number
  /** Time added to every bound, because the lab and the system under test share a machine. */
  readonly slackMs: number
  /** Maximum time from the acknowledgement of a revocation until its connections close (ACL2). */
  readonly revokeBoundMs: number
  readonly revokeBoundWithoutRedisMs: number
  /** Maximum time during which presence may be wrong (PRES1). */
  readonly presenceBoundMs: number
  /** Maximum time from the acknowledgement of a removal to the last live value. */
  readonly liveBoundMs: number
  /** Age of a join from which on the member's streams must have received it, when a send begins. */
  readonly joinSettleMs: number
  /** Maximum growth of a server's memory from warm-up to the quiet phase. */
  readonly rssGrowthMaxBytes: number
  readonly fdGrowthMax: number
  /**
   * Maximum growth of a server's memory at any time, including during faults and while clients are
   * paused.
   */
  readonly rssPeakMaxBytes: number
  /** Maximum number of witnesses kept per rule. */
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
  // The baseline itself varies by what V8 has just collected, up to 150 MB.
  rssGrowthMaxBytes: 160 * 1024 * 1024,
  fdGrowthMax: 64,
  // Includes V8's young generation, up to three times `--max-semi-space-size=64`.
  rssPeakMaxBytes: (256 + 3 * 64) * 1024 * 1024,
  witnessesMax: 5,
}

/** Evidence of one violation: its description, and the places in the history that show it. */
export interface Witness {
  readonly text: string
  /** Places in the history as `file:line`. */
  readonly places: readonly string[]
  /** Seconds since the start of the run. */
  readonly atSeconds?: number
}

export type Verdict = 'kept' | 'broken' | 'not judged'

export interface RuleResult {
  readonly id: RuleId
  readonly name: string
  readonly verdict: Verdict
  /** Name of the things that were judged, and their number. */
  readonly unit: string
  readonly judged: number
  readonly violations: number
  readonly witnesses: readonly Witness[]
  /** Reason why the rule judged nothing, or a remark for the reader of the verdict. */
  readonly note?: string
}

export interface Rule {
  readonly id: RuleId
  readonly name: string
  /** Name of the things that `judged` counts. */
  readonly unit: string
  /** Events that the history must contain for the rule to judge anything. */
  readonly needs: string
  /** Violations that the rule cannot notice. */
  readonly blindTo: string
  check(facts: Facts, settings: CheckSettings, findings: Findings): void
}

export interface PlaceLike {
  readonly file: number
  readonly line: number
}

/** Collects the findings of a rule. Keeps a limited number of witnesses. */
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

  /** Reports one violation. `text` is only called if the witness is kept. */
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
