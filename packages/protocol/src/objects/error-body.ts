import * as z from 'zod'
import { errorCatalogue, type ErrorCode, type Retry } from '../errors.ts'

/** Error of one item of a list. It has the fields of an error in a Socket.IO acknowledgement. */
export const errorBodySchema = z
  .strictObject({
    code: z.enum(Object.keys(errorCatalogue) as [ErrorCode, ...ErrorCode[]]),
    message: z.string(),
    retry: z.enum(['never', 'later'] satisfies Retry[]),
    retryAfterMs: z.number().optional(),
  })
  .meta({ id: 'ErrorBody' })
