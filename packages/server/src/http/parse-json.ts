/**
 * Parses a request body as JSON. It must be valid UTF-8 without a byte order mark, and passes
 * the same strict checks as JSON on the other transports.
 */
import { JsonFault, parseJsonText } from '../support/json-text.ts'

export { JsonFault }

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Returns the parsed body, or undefined if it is empty. Throws {@link JsonFault}. */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    throw new JsonFault('is not UTF-8')
  }
  return parseJsonText(text)
}
