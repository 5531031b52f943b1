/**
 * Folds text for comparison: the one place that decides which handles and which names are equal.
 *
 * Postgres folds by the locale of each database: under tr_TR `I` is not the capital of `i`, and under C only ASCII has
 * capitals. JavaScript folds by Unicode alone, so what is folded here is the same at every installation.
 */

/** A handle as it is compared. Folds A to Z only: handles are ASCII, and `İ` must not become `i`. */
export function foldHandle(handle: string): string {
  return handle.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/** SQL for {@link foldHandle}: under collation C, Postgres lower-cases A to Z only, whatever the database's locale. */
export const foldHandleSql = (handle: string): string => `lower(${handle} collate "C")`

/**
 * A name or a search term as it is compared: NFC, without case. Accents count. Turkish `I`, `ı`, `İ` and `i` are equal,
 * because a search cannot know the language of a name. NUL and lone surrogates, which no column can store, are removed.
 */
export function foldName(name: string): string {
  return (
    name
      .toWellFormed()
      .replaceAll('\0', '')
      .normalize('NFC')
      // Up and down: only so are `ẞ`, `ß` and `SS` equal. The first step is for `ẞ`, which has no other capital.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .replaceAll('ς', 'σ')
      .replaceAll('i\u0307', 'i')
      .normalize('NFC')
  )
}
