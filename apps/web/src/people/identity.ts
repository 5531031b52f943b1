/** What stands in for a person: one of twelve hues by a hash of the id, and initials. The same everywhere and always. */
const huesInDegrees = [10, 35, 60, 85, 125, 155, 180, 210, 240, 275, 305, 340] as const

export function hueOf(id: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < id.length; index += 1) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193)
  return huesInDegrees[(hash >>> 0) % huesInDegrees.length] ?? huesInDegrees[0]
}

/** At most two letters: of the first and the last word, or the first of a single one. */
export function initialsOf(name: string): string {
  const words = name
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '')
  const first = words[0]
  if (first === undefined) return '?'
  const last = words.length > 1 ? words.at(-1) : undefined
  return (firstLetter(first) + (last === undefined ? '' : firstLetter(last))).toLocaleUpperCase()
}

/** Two letters for what has a name and is no person: of its first and last word, or the first two of a single one. */
export function lettersOf(name: string): string {
  const words = name.split(/[^\p{L}\p{N}\p{Extended_Pictographic}\u200d\ufe0f]+/u).filter((word) => word !== '')
  const [first, ...rest] = words
  if (first === undefined) return '#'
  if (rest.length > 0) return initialsOf(words.join(' '))
  return [...new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(first)]
    .slice(0, 2)
    .map(({ segment }) => segment)
    .join('')
    .toLocaleUpperCase()
}

function firstLetter(word: string): string {
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(word)) return segment
  return ''
}
