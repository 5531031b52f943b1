/** Back-off with jitter, and waiting that a signal ends. */

/**
 * Returns the delay before retry number `attempt` (the first is 0): a random part of a ceiling that
 * doubles each time. It is never shorter than the server asked for; that delay gets jitter too,
 * because the server may have sent the same number to many clients.
 */
export function backoffMs(
  attempt: number,
  { firstMs, maxMs, retryAfterMs = 0 }: { firstMs: number; maxMs: number; retryAfterMs?: number | undefined },
): number {
  const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 20))
  const jitterMs = Math.random() * ceilingMs
  return retryAfterMs > 0 ? retryAfterMs + Math.min(jitterMs, retryAfterMs) : ceilingMs / 2 + jitterMs / 2
}

/** Waits. Rejects with the reason of the signal as soon as it aborts. */
export function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })
}
