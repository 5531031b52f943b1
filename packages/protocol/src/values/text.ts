/**
 * Checks text. Storable text has no NUL and no lone surrogate, at any depth (rule BAD1), because
 * Postgres cannot store them: one bad string would fail a whole batch of other users' messages.
 * Also checks that text is a single line and visible, for names, titles, device names and mail
 * subjects.
 */
import * as z from 'zod'
import { limits } from '../limits.ts'

export function isStorableText(text: string): boolean {
  return !text.includes('\u0000') && text.isWellFormed()
}

/**
 * Returns a string schema of `min` to `max` UTF-16 code units that refuses NUL and lone surrogates.
 */
export function textSchema(min: number, max: number) {
  return z.string().min(min).max(max).refine(isStorableText, { error: 'contains NUL or a lone surrogate' })
}

/**
 * Like {@link textSchema}, but normalizes to NFC: for text that is compared and searched. Message
 * texts are not normalized.
 */
export function composedTextSchema(min: number, max: number) {
  return z
    .string()
    .normalize('NFC')
    .min(min)
    .max(max)
    .refine(isStorableText, { error: 'contains NUL or a lone surrogate' })
}

/**
 * Control characters, some of which end a line (LF, VT, FF, CR, NEL), and line and paragraph
 * separators.
 */
const endsLine = /[\p{Cc}\p{Zl}\p{Zp}]/u
const lineEnds = /[\p{Cc}\p{Zl}\p{Zp}]+/gu
/**
 * Characters that change the writing direction, even of other text that is shown after this text.
 */
const turnsDirection = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]/u
const directionTurns = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]/gu
/**
 * Any visible character: not a blank, a control, a mark that needs a letter, or a character that
 * fonts show as nothing. Hangul fillers, variation selectors, tags and zero-width characters are
 * `Default_Ignorable`. The Braille blank and three other invisible characters are not, so the
 * pattern lists them.
 */
const visible =
  /[^\p{White_Space}\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}\u{13441}\u{13442}]/u

/** Returns whether the text has any visible character. */
export function showsSomething(text: string): boolean {
  return visible.test(text)
}

/** Returns whether the text is one line without direction overrides. */
export function isOneLine(text: string): boolean {
  return !endsLine.test(text) && !turnsDirection.test(text)
}

/**
 * Reduces text to what {@link isOneLine} accepts. For shown text that was not checked on input:
 * older rows, headers, first lines.
 */
export function toOneLine(text: string): string {
  return text.replace(lineEnds, ' ').replace(directionTurns, '').trim()
}

/**
 * A name shown to users: one line, no control or direction-override characters, at least one
 * visible character.
 */
export const nameSchema = composedTextSchema(1, limits.nameMaxChars)
  .refine(isOneLine, { error: 'contains a line end, a control or a direction-override character' })
  .refine(showsSomething, { error: 'shows nothing' })
  .meta({ id: 'Name' })

export const messageTextSchema = textSchema(0, limits.textMaxChars).meta({
  id: 'MessageText',
  description: 'Markdown.',
})
