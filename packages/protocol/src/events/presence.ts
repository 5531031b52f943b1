import * as z from 'zod'
import { presenceSchema } from '../objects/live-value.ts'

export const presenceEvent = z.array(presenceSchema).min(1)
