/**
 * A mutant: the product with one bug, added when the lab starts it. The product's code has no
 * switch for this. The lab edits a copy of the source and loads that instead.
 */
import type { RuleId } from '../checker/index.ts'

/**
 * A replacement in the syntax tree of one package. It does not name a file, so code may move to
 * another one. Layout, comments, semicolons and trailing commas do not matter.
 */
export interface CodeEdit {
  readonly kind: 'code'
  /**
   * Names of nested declarations, from the outside: `Feed.accept`, `planStep.after`. All of the
   * package if left out.
   */
  readonly in?: string
  /**
   * One expression or statement. It must occur exactly once. A name that begins with `$` matches
   * any expression; `...$rest` matches all other elements at the end of a list.
   */
  readonly find: string
  /** Code for its place. Names that begin with `$` are those of `find`. */
  readonly becomes: string
}

/** Statements that a function runs first. */
export interface StartEdit {
  readonly kind: 'start'
  /** The function, as for a `CodeEdit`. */
  readonly in: string
  readonly add: string
}

/** A replacement in SQL. Comments, white space and the case of letters do not matter. */
export interface SqlEdit {
  readonly kind: 'sql'
  /**
   * Name of an SQL function, or of a TypeScript declaration that contains the SQL as a template.
   * All files of SQL if left out.
   */
  readonly in?: string
  /** Part of a statement. It must occur exactly once. */
  readonly find: string
  readonly becomes: string
}

export type MutantEdit = CodeEdit | StartEdit | SqlEdit

export interface Mutant {
  readonly name: string
  /** Effect of the bug, as a bug report would describe it. */
  readonly about: string
  /** Package whose source is edited. */
  readonly package: 'server' | 'client'
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

/** Environment variable with the path of the list of replaced files (build-mutant.ts). */
export const mutantVariable = 'CHORUS_MUTANT'
