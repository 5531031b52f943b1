/**
 * Folds text for comparison: the only place that decides which handles and names are equal.
 *
 * Postgres folds by the locale of each database: under tr_TR `I` is not the capital of `i`, and
 * under C only ASCII has capitals. JavaScript folds by Unicode alone, so folding here gives the
 * same result at every installation.
 */

/**
 * Returns the form of a handle used for comparison. Folds A to Z only: handles are ASCII, and `İ`
 * must not become `i`.
 */
export function foldHandle(handle: string): string {
  return handle.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/**
 * Returns SQL for {@link foldHandle}: under collation C, Postgres lower-cases A to Z only, whatever
 * the database's locale.
 */
export const foldHandleSql = (handle: string): string => `lower(${handle} collate "C")`

/**
 * Returns the form of a name or search term used for comparison: NFC, without case. Accents count.
 * Turkish `I`, `ı`, `İ` and `i` are equal, because a search cannot know the language of a name. NUL
 * and lone surrogates, which no column can store, are removed.
 */
export function foldName(name: string): string {
  return (
    name
      .toWellFormed()
      .replaceAll('\0', '')
      .normalize('NFC')
      // Only upper-casing and then lower-casing makes `ẞ`, `ß` and `SS` equal. The first
      // lower-casing is for `ẞ`, which has no other capital.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .replaceAll('ς', 'σ')
      .replaceAll('i\u0307', 'i')
      .normalize('NFC')
  )
}
