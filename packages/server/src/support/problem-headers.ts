/** The headers that go with an error of the catalogue on every road over HTTP. */
import type { ChorusError } from '@chorus/protocol'

export function problemHeaders(error: ChorusError): Readonly<Record<string, string>> {
  return {
    'content-type': 'application/problem+json',
    ...(error.retryAfterMs !== undefined && {
      'retry-after': String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))),
    }),
  }
}
