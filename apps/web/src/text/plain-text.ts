/** Decides, without loading anything, what a message's text needs: nothing, the Markdown renderer, or large emoji. */

// What could begin a construct of Markdown or a link. Anything else reads the same rendered or not.
const mayBeMarkdown =
  /[*_`~[\]<>|\\&]|https?:|www\.|mailto:|@\S+\.|^\s*(?:#{1,6}\s|[-+]\s|\d{1,9}[.)]\s|={3}|-{3})|^(?: {4}|\t)/m

/** True for a text of blanks and characters that have no picture of their own: zero-width ones, marks of direction. */
export function showsNothing(text: string): boolean {
  return !/[^\s\p{Default_Ignorable_Code_Point}\p{Cc}\p{Cf}\u2800]/u.test(text)
}

/** Marks of a message that the renderer is given; its cost grows faster than their number. */
const marksMax = 1_500
const nested = /^(?:[ \t]*(?:>|[-+*]|\d{1,9}[.)])){40}/m

/** False also for a text that was made to keep its readers' browsers busy: that one is shown as it is. */
export function needsMarkdown(text: string): boolean {
  if (!mayBeMarkdown.test(text)) return false
  if (text.length <= marksMax) return !nested.test(text)
  const outsideFences = text.replace(/^(```|~~~)[^]*?^\1/gm, '')
  return (outsideFences.match(/[^\p{L}\p{N}\s]/gu)?.length ?? 0) <= marksMax && !nested.test(text)
}

const emojiOnly = /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|\u200d|\ufe0f|\u20e3|\s)+$/u
const largeEmojiMax = 3

/** One to three emoji and nothing else are shown large. */
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

/** One line for lists, quotes and titles: without line breaks, quote marks and the commonest markers. */
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
  // Where nothing is left, the marks were the message.
  const line = (showsNothing(withoutMarks) ? start : withoutMarks).replace(/\s+/g, ' ').trim()
  if (line.length <= maxChars) return line
  const cut = line.slice(0, maxChars)
  // Never in the middle of a surrogate pair.
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`
}
