/**
 * Folds text for comparison. Only this file decides which handles and names are equal.
 *
 * Postgres would fold by the locale of each database: under tr_TR, `I` is not the upper case of
 * `i`, and under C only ASCII letters have an upper case. JavaScript folds by Unicode alone, so all
 * installations get the same result.
 */

/**
 * Returns the form of a handle used for comparison. Only the letters A to Z are folded: handles are
 * ASCII, and `İ` must not become `i`.
 */
export function foldHandle(handle: string): string {
  return handle.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/**
 * Returns an SQL expression that gives the same result as {@link foldHandle}. With collation C,
 * Postgres changes only A to Z to lower case, whatever the locale of the database.
 */
export const foldHandleSql = (handle: string): string => `lower(${handle} collate "C")`

/**
 * Returns the form of a name or search term used for comparison: Unicode form NFC, without case,
 * but with accents. Turkish `I`, `ı`, `İ` and `i` are equal, because a search cannot know the
 * language of a name. NUL and lone surrogates, which no column can store, are removed.
 */
export function foldName(name: string): string {
  return (
    name
      .toWellFormed()
      .replaceAll('\0', '')
      .normalize('NFC')
      // Converting to upper case and then to lower case makes `ẞ`, `ß` and `SS` equal. The first
      // conversion to lower case is for `ẞ`, whose upper case is not `SS`.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .replaceAll('ς', 'σ')
      .replaceAll('i\u0307', 'i')
      .normalize('NFC')
  )
}
