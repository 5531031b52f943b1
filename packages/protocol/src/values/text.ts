/**
 * Strings that Postgres can store: no NUL and no lone surrogate, at any depth (rule BAD1). One bad string would
 * otherwise fail a whole batch of other people's messages.
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

const bidiOrControl = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/u

/** A name shown to people: one line, no control or direction-override characters, not only blanks. */
export const nameSchema = composedTextSchema(1, limits.nameMaxChars)
  .refine((name) => !bidiOrControl.test(name), { error: 'contains a control or direction-override character' })
  .refine((name) => name.trim().length > 0, { error: 'is blank' })
  .meta({ id: 'Name' })

export const messageTextSchema = textSchema(0, limits.textMaxChars).meta({
  id: 'MessageText',
  description: 'Markdown.',
})
