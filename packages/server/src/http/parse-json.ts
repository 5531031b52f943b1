/**
 * Parses a body as JSON: valid UTF-8 without a byte order mark (N75), then as strictly as on every
 * other transport.
 */
import { JsonFault, parseJsonText } from '../support/json-text.ts'

export { JsonFault }

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Returns undefined for an empty body. Throws {@link JsonFault}. */
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
