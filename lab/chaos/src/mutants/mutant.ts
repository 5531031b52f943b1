/**
 * What a mutant is: the product with one thing wrong that a careful reader would call a bug, put in when the lab starts
 * it. Production code has no switch for it: the text is replaced as it is loaded, and only where the lab says so.
 */
import type { RuleId } from '../checker/index.ts'

/** A replacement in one file, as it is built (or, for SQL, as it stands). */
export interface MutantEdit {
  /** From the repository's root: `packages/server/dist/….js`, `packages/client/dist/….js` or `packages/server/src/….sql`. */
  readonly file: string
  /** Must occur exactly once. */
  readonly search: string
  readonly replacement: string
}

export interface Mutant {
  readonly name: string
  /** What it does, as one would write it in a report of a bug. */
  readonly about: string
  readonly edits: readonly MutantEdit[]
  /** It is caught when one of these is broken. */
  readonly breaks: readonly RuleId[]
  /** The shortest run that should show it. */
  readonly shownBy: {
    /** Kinds of faults to draw from. Members come and go, and clients restart, only as long as there are faults. */
    readonly faults: readonly string[]
    readonly count: number
    /** Messages a second, where the usual rate is not the right one. */
    readonly rate?: number
  }
}

export const mutantVariable = 'CHORUS_MUTANT'
