/**
 * Returns the HTTP headers for an error of the protocol, the same for every kind of HTTP request.
 */
import type { ChorusError } from '@chorus/protocol'

export function problemHeaders(error: ChorusError): Readonly<Record<string, string>> {
  return {
    'content-type': 'application/problem+json',
    ...(error.retryAfterMs !== undefined && {
      'retry-after': String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))),
    }),
  }
}
