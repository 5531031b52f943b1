/**
 * A mutant: the product with one bug, added when the lab starts it. The product's code has no
 * switch for this. The lab replaces the text while the module is loaded.
 */
import type { RuleId } from '../checker/index.ts'

/** A replacement in one file: a built JavaScript file, or an SQL file of the source. */
export interface MutantEdit {
  /**
   * Path from the repository's root: `packages/server/dist/….js`, `packages/client/dist/….js` or
   * `packages/server/src/….sql`.
   */
  readonly file: string
  /** Text to replace. It must occur exactly once. */
  readonly search: string
  readonly replacement: string
}

export interface Mutant {
  readonly name: string
  /** Effect of the bug, as a bug report would describe it. */
  readonly about: string
  readonly edits: readonly MutantEdit[]
  /** Rules that the mutant breaks. It is caught when at least one of them is reported as broken. */
  readonly breaks: readonly RuleId[]
  /** Shortest run that should expose the mutant. */
  readonly shownBy: {
    /**
     * Kinds of faults to draw from. Members join and leave, and clients restart, only while there
     * are faults.
     */
    readonly faults: readonly string[]
    readonly count: number
    /** Messages per second. Only set where the usual rate does not expose the mutant. */
    readonly rate?: number
  }
}

export const mutantVariable = 'CHORUS_MUTANT'
