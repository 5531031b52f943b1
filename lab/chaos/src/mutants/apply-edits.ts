/**
 * Applies a mutant's edits to a text. Throws if the text does not contain an edit's search text
 * exactly once.
 */
import type { Mutant } from './mutant.ts'

export function applyEdits(mutant: Pick<Mutant, 'name' | 'edits'>, file: string, source: string): string {
  let text = source
  for (const edit of mutant.edits) {
    if (edit.file !== file) continue
    const at = text.indexOf(edit.search)
    if (at === -1) throw new Error(`unable to make mutant ${mutant.name}; ${file} does not contain: ${edit.search}`)
    if (text.includes(edit.search, at + 1)) {
      throw new Error(`unable to make mutant ${mutant.name}; ${file} contains more than once: ${edit.search}`)
    }
    text = text.slice(0, at) + edit.replacement + text.slice(at + edit.search.length)
  }
  return text
}
