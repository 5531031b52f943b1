/**
 * Normalizes emoji, so that one emoji has one spelling. For example, clients send `👍` and `❤` with
 * or without U+FE0F, which requests the colour form. The normalized spelling is the one that
 * Unicode recommends for interchange ("fully qualified"), so two emoji are equal exactly when their
 * strings are equal. Text that is not a single emoji is refused.
 */
import * as z from 'zod'
import { limits } from '../limits.ts'

/**
 * The regular expression of one emoji, compiled at first use and from a string: clients import this
 * package, and some of their engines do not know the flag `v`. It also accepts characters that
 * Unicode reserves for future emoji, so that a new emoji works without a new server.
 */
let oneEmoji: RegExp | undefined
const oneEmojiSource = '^(?:\\p{RGI_Emoji}|[\\p{Extended_Pictographic}&&\\p{Cn}])$'

/**
 * Variation selectors, which request the text form or the colour form of the character before them.
 */
const presentation = /[\ufe0e\ufe0f]/gu
/** Emoji characters that are shown as text unless U+FE0F or a skin tone follows. */
const shownAsText = /(?!\p{Emoji_Presentation})(?!\p{Regional_Indicator})(\p{Emoji})(?!\p{Emoji_Modifier})/gu

/** Returns the one spelling of an emoji. Undefined: the text is not exactly one emoji. */
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
