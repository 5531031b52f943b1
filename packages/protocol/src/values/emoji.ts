/**
 * One emoji has one spelling. `👍` may come with or without U+FE0F, which asks for colour, and `❤` without it is a plain
 * character: here the spelling is the one that Unicode recommends for interchange ("fully qualified"), so two of them are
 * equal exactly when their strings are. What is no single emoji has none.
 */
import * as z from 'zod'
import { limits } from '../limits.ts'

/**
 * Made at first use and by its text: clients carry this package, and some of their engines do not know the flag `v`. A
 * pictograph that Unicode keeps free for later is taken, too, so that a new emoji does not wait for a new server.
 */
let oneEmoji: RegExp | undefined
const oneEmojiSource = '^(?:\\p{RGI_Emoji}|[\\p{Extended_Pictographic}&&\\p{Cn}])$'

/** Asks for colour, or for text. */
const presentation = /[\ufe0e\ufe0f]/gu
/** Shown as text unless U+FE0F follows; a skin tone in its place asks for colour as well. */
const shownAsText = /(?!\p{Emoji_Presentation})(?!\p{Regional_Indicator})(\p{Emoji})(?!\p{Emoji_Modifier})/gu

/** The one spelling; undefined when the text is not exactly one emoji. */
export function canonicalEmoji(text: string): string | undefined {
  if (text.length === 0 || text.length > 2 * limits.emojiMaxChars) return undefined
  const canonical = text.replace(presentation, '').replace(shownAsText, '$1\ufe0f')
  oneEmoji ??= new RegExp(oneEmojiSource, 'v')
  return canonical.length <= limits.emojiMaxChars && oneEmoji.test(canonical) ? canonical : undefined
}

export const emojiSchema = z
  .string()
  .min(1)
  .max(limits.emojiMaxChars, { abort: true })
  .overwrite((text) => canonicalEmoji(text) ?? text)
  .refine((text) => canonicalEmoji(text) !== undefined, { error: 'is not one emoji' })
  .meta({ id: 'Emoji' })
