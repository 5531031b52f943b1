/**
 * Calls code of the application. Guarantee: what it throws, or what a promise it returns rejects with, reaches `onError`
 * and nothing else: other listeners still run, and a Node program does not end.
 */
export function guarded(run: () => unknown, onError: (error: unknown) => unknown): void {
  const report = (error: unknown): void => {
    try {
      const reported = onError(error)
      if (reported instanceof Promise) reported.catch(logError)
    } catch (thrown) {
      logError(thrown)
    }
  }
  try {
    const result = run()
    if (isThenable(result)) result.then(undefined, report)
  } catch (error) {
    report(error)
  }
}

/** The last resort: where nobody else is told. */
export function logError(error: unknown): void {
  // eslint-disable-next-line no-console -- the last resort
  console.error(error)
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
