/**
 * Decides how to show the text of a message: as plain text, by the Markdown renderer, or as large
 * emoji. Needs only this small file, so the renderer is loaded only for messages that need it.
 */

// Matches each text that may contain a Markdown construct or a link. Any other text looks the same
// with and without the renderer.
const mayBeMarkdown =
  /[*_`~[\]<>|\\&]|https?:|www\.|mailto:|@\S+\.|^\s*(?:#{1,6}\s|[-+]\s|\d{1,9}[.)]\s|={3}|-{3})|^(?: {4}|\t)/m

/**
 * Returns whether a text is invisible: it has only blanks and invisible characters, such as
 * zero-width spaces and direction marks.
 */
export function showsNothing(text: string): boolean {
  return !/[^\s\p{Default_Ignorable_Code_Point}\p{Cc}\p{Cf}\u2800]/u.test(text)
}

/**
 * Maximum number of punctuation characters in a message that is rendered as Markdown. The cost of
 * rendering grows faster than this number.
 */
const marksMax = 1_500
const nested = /^(?:[ \t]*(?:>|[-+*]|\d{1,9}[.)])){40}/m

/**
 * Returns whether a text needs the Markdown renderer. Returns false for a text that would take a
 * browser very long to render, so that it is shown as plain text.
 */
export function needsMarkdown(text: string): boolean {
  if (!mayBeMarkdown.test(text)) return false
  if (text.length <= marksMax) return !nested.test(text)
  const outsideFences = text.replace(/^(```|~~~)[^]*?^\1/gm, '')
  return (outsideFences.match(/[^\p{L}\p{N}\s]/gu)?.length ?? 0) <= marksMax && !nested.test(text)
}

const emojiOnly = /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|\u200d|\ufe0f|\u20e3|\s)+$/u
const largeEmojiMax = 3

/** Returns whether a text is one to three emoji and nothing else. Such a text is shown large. */
export function isLargeEmoji(text: string): boolean {
  if (text.length > 40 || !emojiOnly.test(text) || !/\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(text))
    return false
  let count = 0
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text)) {
    if (segment.trim() !== '') count += 1
    if (count > largeEmojiMax) return false
  }
  return count > 0
}

/**
 * Shortens a message to one line for lists, quotes and titles: without line breaks, quote marks and
 * the most common Markdown marks.
 */
export function excerpt(text: string, maxChars = 140): string {
  const start = text.slice(0, maxChars * 4)
  const withoutMarks = start
    .replace(/```[a-z]*\n?|^\s*>\s?/gim, '')
    .replace(
      /!?\[([^\]\n]*)\]\(((?:https?:\/\/|mailto:)[^)\s]*)\)/gi,
      (_link, label: string, url: string) => label || url,
    )
    .replace(/(?<!\w)(\*\*|__|~~|`)(?=\S)([^\n]*?\S)\1(?!\w)/g, '$2')
    .replace(/(?<![\w*_])([*_])(?=\S)([^\n*_]*?\S)\1(?![\w*_])/g, '$2')
    .replace(/^\s*#{1,6}\s+/gm, '')
  // If no visible text is left, the message consists of marks: keep them.
  const line = (showsNothing(withoutMarks) ? start : withoutMarks).replace(/\s+/g, ' ').trim()
  if (line.length <= maxChars) return line
  const cut = line.slice(0, maxChars)
  // Never cut a character that consists of two UTF-16 code units in half.
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`
}
