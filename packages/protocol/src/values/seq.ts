/** Positions in a conversation's log, page sizes, cursors and times. */
import * as z from 'zod'
import { limits } from '../limits.ts'

/** A change's position in its conversation: 1, 2, 3 … */
export const seqSchema = z.int().min(1).max(limits.seqMax).meta({ id: 'Seq' })

/** A seq, or 0 for the position before the first change. */
export const seqOrZeroSchema = z.int().min(0).max(limits.seqMax)

export const pageLimitSchema = z.int().min(1).max(limits.pageMax).default(limits.pageDefault)

export const cursorSchema = z
  .string()
  .min(1)
  .max(limits.cursorMaxChars)
  .regex(/^[A-Za-z0-9_-]+$/)
  .meta({
    id: 'Cursor',
    description:
      'Opaque: "I have everything up to here, in all my conversations". Works on every server and transport, without a horizon.',
  })

export const timeSchema = z
  .string()
  .meta({ id: 'Time', format: 'date-time', description: 'ISO 8601 UTC, from the database.' })
