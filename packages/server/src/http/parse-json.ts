/** A body as JSON: UTF-8 without faults and without a byte order mark (N75), then as strictly as over every road. */
import { JsonFault, parseJsonText } from '../support/json-text.ts'

export { JsonFault }

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Undefined for an empty body. Throws {@link JsonFault}. */
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
