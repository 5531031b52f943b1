/**
 * Strings that Postgres can store: no NUL and no lone surrogate, at any depth (rule BAD1). One bad string would
 * otherwise fail a whole batch of other people's messages. And what a line is, and what can be seen, for everything that
 * shows text of people: names, titles, devices, subjects of mails.
 */
import * as z from 'zod'
import { limits } from '../limits.ts'

export function isStorableText(text: string): boolean {
  return !text.includes('\u0000') && text.isWellFormed()
}

/** A string schema of `min` to `max` UTF-16 code units that refuses NUL and lone surrogates. */
export function textSchema(min: number, max: number) {
  return z.string().min(min).max(max).refine(isStorableText, { error: 'contains NUL or a lone surrogate' })
}

/** As {@link textSchema}, in NFC: for what is compared and searched. The text of a message keeps its bytes. */
export function composedTextSchema(min: number, max: number) {
  return z
    .string()
    .normalize('NFC')
    .min(min)
    .max(max)
    .refine(isStorableText, { error: 'contains NUL or a lone surrogate' })
}

/** Controls, of which some end a line (LF, VT, FF, CR, NEL), and the separators of lines and paragraphs. */
const endsLine = /[\p{Cc}\p{Zl}\p{Zp}]/u
const lineEnds = /[\p{Cc}\p{Zl}\p{Zp}]+/gu
/** Turns the direction of what follows, also outside of the text. */
const turnsDirection = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]/u
const directionTurns = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]/gu
/**
 * Anything but blanks, controls, marks that need a letter, and what fonts show as nothing: fillers of Hangul, selectors of
 * variants, tags and zero-width characters are `Default_Ignorable`; the blank of Braille and three more are not.
 */
const visible =
  /[^\p{White_Space}\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}\u{13441}\u{13442}]/u

/** Is anything of the text to be seen? */
export function showsSomething(text: string): boolean {
  return visible.test(text)
}

/** One line that stays within its own direction. */
export function isOneLine(text: string): boolean {
  return !endsLine.test(text) && !turnsDirection.test(text)
}

/** As {@link isOneLine} asks for it, for text that is shown and was not checked: older rows, headers, first lines. */
export function toOneLine(text: string): string {
  return text.replace(lineEnds, ' ').replace(directionTurns, '').trim()
}

/** A name shown to people: one line, no control or direction-override characters, and something to see. */
export const nameSchema = composedTextSchema(1, limits.nameMaxChars)
  .refine(isOneLine, { error: 'contains a line end, a control or a direction-override character' })
  .refine(showsSomething, { error: 'shows nothing' })
  .meta({ id: 'Name' })

export const messageTextSchema = textSchema(0, limits.textMaxChars).meta({
  id: 'MessageText',
  description: 'Markdown.',
})
