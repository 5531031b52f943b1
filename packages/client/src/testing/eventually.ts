/** Waits for a fact, for as long as a busy machine may need. */
import { vi } from 'vitest'

export const eventuallyMs = 10_000

export function eventually<Result>(check: () => Result | Promise<Result>): Promise<Result> {
  return vi.waitFor(check, { timeout: eventuallyMs, interval: 10 })
}
