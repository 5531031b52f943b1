/**
 * Computes the default picture of a person: initials on one of twelve hues. A hash of the user id
 * chooses the hue, so it is the same on every device.
 */
const huesInDegrees = [10, 35, 60, 85, 125, 155, 180, 210, 240, 275, 305, 340] as const

export function hueOf(id: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < id.length; index += 1) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193)
  return huesInDegrees[(hash >>> 0) % huesInDegrees.length] ?? huesInDegrees[0]
}

/**
 * Returns the initials of a person: the first letters of the first and the last word of the name,
 * or one letter for a single word.
 */
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

/**
 * Returns two letters for a group or channel: the first letters of the first and the last word of
 * its name, or the first two letters of a single word.
 */
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
