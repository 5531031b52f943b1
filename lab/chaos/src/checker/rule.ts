/**
 * The interface of a rule of the checker, and of its result. A rule's verdict is one of three
 * values. A rule that found nothing to judge returns `not judged` and never `kept`.
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

/**
 * Limits that the checker's rules use. A run may override them; the defaults are those of the spec.
 */
export interface CheckSettings {
  /**
   * Maximum time between a message's acknowledgement and its delivery to every running client,
   * while no fault is active (TAIL1).
   */
  readonly tailBoundMs: number
  /**
   * Time added to every maximum time, because the chaos test and the tested servers share one
   * machine.
   */
  readonly slackMs: number
  /**
   * Maximum time between the acknowledgement that a session is revoked and the end of its
   * connections (ACL2).
   */
  readonly revokeBoundMs: number
  readonly revokeBoundWithoutRedisMs: number
  /** Maximum time during which a user's shown presence may be wrong (PRES1). */
  readonly presenceBoundMs: number
  /**
   * Maximum time between the acknowledgement that a member is removed and the last live value (such
   * as typing) that reaches this user.
   */
  readonly liveBoundMs: number
  /**
   * Age of a membership from which on the member's clients must receive every message that is sent.
   */
  readonly joinSettleMs: number
  /**
   * Maximum growth of a server's memory between the end of the warm-up and the quiet phase at the
   * end of the run.
   */
  readonly rssGrowthMaxBytes: number
  readonly fdGrowthMax: number
  /**
   * Maximum growth of a server's memory after the warm-up at any time, including during faults and
   * while clients are paused.
   */
  readonly rssPeakMaxBytes: number
  /** Maximum number of violations per rule that are reported in detail. */
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
  // The memory after the warm-up varies by up to 150 MB, depending on what V8 has just collected.
  rssGrowthMaxBytes: 160 * 1024 * 1024,
  fdGrowthMax: 64,
  // Includes V8's young generation, which takes up to three times `--max-semi-space-size=64`.
  rssPeakMaxBytes: (256 + 3 * 64) * 1024 * 1024,
  witnessesMax: 5,
}

/**
 * Evidence of one violation of a rule: a description, and the places in the history that show it.
 */
export interface Witness {
  readonly text: string
  /** Places in the history files, as `file:line`. */
  readonly places: readonly string[]
  /** Time of the violation, in seconds since the start of the run. */
  readonly atSeconds?: number
}

export type Verdict = 'kept' | 'broken' | 'not judged'

export interface RuleResult {
  readonly id: RuleId
  readonly name: string
  readonly verdict: Verdict
  /** Name of the things that the rule judged, such as messages. */
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
  /** Name of the things that the rule judges and counts in `judged`. */
  readonly unit: string
  /** Description of the events that the history must contain for the rule to judge anything. */
  readonly needs: string
  /** Description of the violations that the rule cannot notice. */
  readonly blindTo: string
  check(facts: Facts, settings: CheckSettings, findings: Findings): void
}

export interface PlaceLike {
  readonly file: number
  readonly line: number
}

/** Collects the violations that a rule finds. Keeps the details of a limited number of them. */
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

  /** Reports one violation. `text` is called only if the violation's details are kept. */
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
