/**
 * Waits for a condition instead of a fixed time. A test that sleeps is slow on an idle machine and
 * fails on a busy one; a test that waits for a condition is neither slow nor unreliable.
 */

/**
 * Time to wait for a condition that no rule limits. It only ends tests that would wait for ever, so
 * it is longer than any pause of a busy machine.
 */
export const patienceMs = 30_000

export interface WaitOptions {
  /** Description of the condition, for the error message. */
  readonly what?: string
  readonly timeoutMs?: number
  readonly everyMs?: number
}

type Falsy = undefined | null | false | 0 | ''

/**
 * Calls `probe` until it returns a truthy value, and returns that value. Retries when `probe`
 * throws.
 */
export async function waitForFact<T>(
  probe: () => T | Promise<T>,
  { what = 'the fact', timeoutMs = patienceMs, everyMs = 20 }: WaitOptions = {},
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
