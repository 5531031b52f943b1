import * as z from 'zod'
import { limits } from '../../limits.ts'
import { idSchema } from '../../values/id.ts'
import { seqSchema } from '../../values/seq.ts'
import { textSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Schema of the emoji of any stored reaction. Earlier versions accepted several emoji in one
 * reaction; such reactions can still be removed.
 */
const storedEmojiSchema = textSchema(1, limits.emojiMaxChars).refine(
  (text) =>
    /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Component}|\u200d|\ufe0f|\u20e3|[\u{e0020}-\u{e007f}])+$/u.test(
      text,
    ) && /\p{Extended_Pictographic}|\p{Regional_Indicator}|\u20e3/u.test(text),
  { error: 'is not an emoji' },
)

/**
 * Removes a reaction of the caller. Removing a missing reaction changes nothing. It returns the seq
 * of the last change to that reaction, or of the last change to the message if the caller never
 * added that reaction.
 */
export const removeReaction = defineCommand({
  name: 'remove-reaction',
  summary: 'Remove a reaction',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, seq: seqSchema, emoji: storedEmojiSchema }),
  result: z.strictObject({ seq: seqSchema }),
  route: { method: 'DELETE', path: '/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}', status: 200 },
  event: { name: 'unreact', ack: z.strictObject({ seq: seqSchema }), toAck: ({ seq }) => ({ seq }) },
})
