/** Names devices in the list of sessions. */
import { showsSomething, toOneLine } from '@chorus/protocol'

const userAgentMaxChars = 256

/** Returns the name of a device by its `User-Agent` header: one line with visible text, or null. */
export function readUserAgent(header: string | undefined): string | null {
  const line = toOneLine(header ?? '').slice(0, userAgentMaxChars)
  return showsSomething(line) ? line : null
}
