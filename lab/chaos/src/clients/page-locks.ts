/**
 * A replacement for the Web Locks of browsers, which Node lacks. Simulated browser tabs of one
 * process that share a store need them. Grants a lock's name to one holder at a time, in the order
 * of the requests.
 */
interface LockRequestOptions {
  readonly ifAvailable?: boolean
}

type Holder = (lock: { readonly name: string } | null) => unknown

export class PageLocks {
  /**
   * For each lock name, a promise that resolves when the last queued request has released the lock.
   * A name without requests has no entry.
   */
  readonly #queues = new Map<string, Promise<unknown>>()

  request(name: string, holder: Holder): Promise<unknown>
  request(name: string, options: LockRequestOptions, holder: Holder): Promise<unknown>
  async request(name: string, optionsOrHolder: LockRequestOptions | Holder, second?: Holder): Promise<unknown> {
    const holder = typeof optionsOrHolder === 'function' ? optionsOrHolder : second
    if (holder === undefined) throw new TypeError('unable to request a lock; there is no callback')
    const isOnlyIfAvailable = typeof optionsOrHolder !== 'function' && optionsOrHolder.ifAvailable === true
    const before = this.#queues.get(name)
    if (before !== undefined && isOnlyIfAvailable) return holder(null)
    const result = (before ?? Promise.resolve()).then(() => holder({ name }))
    const end = result.then(
      () => undefined,
      () => undefined,
    )
    this.#queues.set(name, end)
    try {
      return await result
    } finally {
      if (this.#queues.get(name) === end) this.#queues.delete(name)
    }
  }
}

/** Installs the locks where the client library looks for them. */
export function installPageLocks(): void {
  Object.defineProperty(globalThis, 'navigator', {
    value: { onLine: true, locks: new PageLocks() },
    configurable: true,
  })
}
