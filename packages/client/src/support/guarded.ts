/**
 * Calls a callback of the application. Guarantee: if the callback throws, or returns a promise that
 * rejects, the error goes to `onError` only. Other listeners still run, and a Node process does not
 * exit.
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

/** Logs an error to the console, as the last resort when no other handler can take it. */
export function logError(error: unknown): void {
  // eslint-disable-next-line no-console -- the last resort
  console.error(error)
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
