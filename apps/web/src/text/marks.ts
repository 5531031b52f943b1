/**
 * Decides whether a character such as `*` or `_` in a message is a Markdown mark or part of the
 * text. Pure.
 */

/**
 * Returns whether a mark is part of a word, a path or a sum, and therefore text: `2*3*4`,
 * `src/*a*.ts`, `__init__.py`. In languages without spaces between words, a mark between two
 * letters still counts as a mark.
 */
export function sharesWord(source: string, start: number, end: number, marker: string): boolean {
  const content = source.slice(start + marker.length, end - marker.length)
  return (
    /[\p{L}\p{N}_./\\@$#-]$/u.test(latinEnd(source.slice(Math.max(0, start - 2), start))) ||
    /^(?:[\p{L}\p{N}_(]|[./\\:@-][\p{L}\p{N}*_])/u.test(latinStart(source.slice(end, end + 3))) ||
    // The marked text is an identifier, such as `_snake_case_`.
    (marker.startsWith('_') && /^\w*_\w*$/.test(content))
  )
}

const withoutSpaces =
  '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}'
const endsWithoutSpaces = new RegExp(`[${withoutSpaces}]$`, 'u')
const startsWithoutSpaces = new RegExp(`^[${withoutSpaces}]`, 'u')
const latinEnd = (part: string): string => (endsWithoutSpaces.test(part) ? '' : part)
const latinStart = (part: string): string => (startsWithoutSpaces.test(part) ? '' : part)

/**
 * Returns whether a backslash only prevents a character from being a Markdown mark, so that it may
 * be hidden. It may be around a word (`\*word\*`), at the start of a line (`\# 1`, `1986\. A
 * year`), and before `|` in a table. Backslashes in paths, formulas and drawings stay visible.
 */
export function hidesBackslash(source: string, at: number, isInCell: boolean): boolean {
  const mark = source.charAt(at + 1)
  if (mark === '|') return isInCell
  const lineStart = source.lastIndexOf('\n', at - 1) + 1
  const before = source.slice(lineStart, at)
  if (/^[\s>]*$/.test(before) && /[#>+=-]/.test(mark)) return true
  if (/^[\s>]*\d{1,9}$/.test(before) && /[.)]/.test(mark)) return true
  return '*_~`'.includes(mark) && (opensPair(source, at, mark) || closesPair(source, at, mark))
}

/**
 * Maximum distance between two marks that belong together. It keeps the cost of the search linear
 * in the length of a message.
 */
const pairMaxChars = 500
const runMax = 3

/** Returns the start of a run of escaped marks (`\*\*`). A run counts as one mark. */
function firstOfRun(source: string, at: number, mark: string): number {
  let first = at
  for (let length = 1; length < runMax && first >= 2; length += 1) {
    if (!source.startsWith(`\\${mark}`, first - 2) || source.charAt(first - 3) === '\\') break
    first -= 2
  }
  return first
}

function endOfRun(source: string, at: number, mark: string): number {
  let end = at + 2
  for (let length = 1; length < runMax && source.startsWith(`\\${mark}`, end); length += 1) end += 2
  return end
}

function canOpen(source: string, at: number, mark: string): boolean {
  const before = source.charAt(firstOfRun(source, at, mark) - 1)
  return !/[\p{L}\p{N}\\/:._¯~]/u.test(before) && /\S/.test(source.charAt(endOfRun(source, at, mark)))
}

function opensPair(source: string, at: number, mark: string): boolean {
  if (!canOpen(source, at, mark)) return false
  const end = endOfRun(source, at, mark)
  const [line = ''] = source.slice(end, end + pairMaxChars).split('\n', 1)
  return line.includes(`\\${mark}`)
}

function closesPair(source: string, at: number, mark: string): boolean {
  const first = firstOfRun(source, at, mark)
  const start = Math.max(0, first - pairMaxChars, source.lastIndexOf('\n', at) + 1)
  const open = source.slice(start, first).lastIndexOf(`\\${mark}`)
  return open !== -1 && canOpen(source, start + open, mark)
}

// Matches full-width and typographic punctuation, which ends a web address in running text.
const endsLink =
  /[\u3000-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff3d\uff5b-\uff65\u2018-\u201f\u2026\u00ab\u00bb]/

/**
 * Returns the web address at the start of a text, without punctuation that belongs to the sentence
 * around it.
 */
export function trimLink(written: string): string {
  const end = written.search(endsLink)
  const address = end === -1 ? written : written.slice(0, end)
  let unpaired = address.split(')').length - address.split('(').length
  let length = address.length
  for (; length > 0; length -= 1) {
    const last = address.charAt(length - 1)
    if (last === ')' && unpaired > 0) unpaired -= 1
    else if (!/[?!.,:*_~'"]/.test(last)) break
  }
  return address.slice(0, length)
}
