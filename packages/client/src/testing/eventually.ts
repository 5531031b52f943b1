/** Retries a check until it passes, for up to 10 s, because a test machine may be busy. */
import { vi } from 'vitest'

export const eventuallyMs = 10_000

export function eventually<Result>(check: () => Result | Promise<Result>): Promise<Result> {
  return vi.waitFor(check, { timeout: eventuallyMs, interval: 10 })
}
