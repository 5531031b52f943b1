/**
 * A mutant: Chorus with one bug, added on purpose to test the checker. The product's code has no
 * switch for this. The chaos test edits a copy of the source and loads that copy.
 */
import type { RuleId } from '../checker/index.ts'

/**
 * A replacement of a piece of TypeScript in one package. It does not name a file, so the code may
 * move to another file. Layout, comments, semicolons and trailing commas make no difference.
 */
export interface CodeEdit {
  readonly kind: 'code'
  /**
   * Names of nested declarations, the outermost first: `Feed.accept`, `planStep.after`. Without it,
   * the whole package is searched.
   */
  readonly in?: string
  /**
   * The code to replace: one expression or statement that occurs exactly once. A name that begins
   * with `$` matches any expression; `...$rest` matches all other elements at the end of a list.
   */
  readonly find: string
  /** The code to insert. Names that begin with `$` stand for what they matched in `find`. */
  readonly becomes: string
}

/** Statements to insert at the start of a function. */
export interface StartEdit {
  readonly kind: 'start'
  /** Name of the function, as in {@link CodeEdit}. */
  readonly in: string
  readonly add: string
}

/**
 * A replacement of a piece of SQL. Comments, white space and the case of letters make no
 * difference.
 */
export interface SqlEdit {
  readonly kind: 'sql'
  /**
   * Name of an SQL function, or of a TypeScript declaration that contains the SQL as a template.
   * Without it, all SQL files are searched.
   */
  readonly in?: string
  /** Part of an SQL statement, which occurs exactly once. */
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
  /**
   * Checker rules that the bug breaks. The mutant counts as caught when the checker reports at
   * least one of them as broken.
   */
  readonly breaks: readonly RuleId[]
  /** Settings of the shortest run that should reveal the bug. */
  readonly shownBy: {
    /**
     * Kinds of faults to inject. Members join and leave, and clients restart, only while there are
     * faults.
     */
    readonly faults: readonly string[]
    readonly count: number
    /** Messages per second. Set only where the usual rate does not reveal the bug. */
    readonly rate?: number
  }
}

/**
 * Environment variable with the path of a built mutant's list of replaced files (build-mutant.ts).
 */
export const mutantVariable = 'CHORUS_MUTANT'
