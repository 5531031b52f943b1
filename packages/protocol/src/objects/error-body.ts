import * as z from 'zod'
import { errorCatalogue } from '../errors.ts'

/** Error of one item of a list. It has the fields of an error in a Socket.IO acknowledgement. */
export const errorBodySchema = z
  .strictObject({
    // A string, so that generated clients accept the codes of later versions.
    code: z.string().meta({ description: `One of: ${Object.keys(errorCatalogue).join(', ')}.` }),
    message: z.string(),
    retry: z.string().meta({ description: 'One of: never, later.' }),
    retryAfterMs: z.number().optional(),
  })
  .meta({ id: 'ItemError' })
