/**
 * Waits for a fact instead of for a time. A test that sleeps is slow when all is well and wrong when the machine is
 * busy; one that waits for what it needs is neither.
 */
export interface WaitOptions {
  /** What is waited for, for the error. */
  readonly what?: string
  readonly timeoutMs?: number
  readonly everyMs?: number
}

type Falsy = undefined | null | false | 0 | ''

/** Asks `probe` until it answers with something truthy, and returns that. A probe that throws is asked again. */
export async function waitForFact<T>(
  probe: () => T | Promise<T>,
  { what = 'the fact', timeoutMs = 10_000, everyMs = 20 }: WaitOptions = {},
): Promise<Exclude<T, Falsy>> {
  const startedAt = performance.now()
  let cause: unknown
  for (;;) {
    try {
      const answer = await probe()
      if (answer) return answer as Exclude<T, Falsy>
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (performance.now() - startedAt > timeoutMs) {
      throw new Error(`unable to see ${what}; waited ${timeoutMs} ms`, cause === undefined ? undefined : { cause })
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}
