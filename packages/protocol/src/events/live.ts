import * as z from 'zod'
import { liveValueSchema } from '../objects/live-value.ts'

export const liveEvent = z.array(liveValueSchema).min(1)
