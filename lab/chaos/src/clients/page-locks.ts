/**
 * Replacement for a browser's Web Locks, which Node lacks here. Clients of one process that share a
 * store like tabs need them. Grants a name to one holder at a time, in the order of the requests.
 */
interface LockRequestOptions {
  readonly ifAvailable?: boolean
}

type Holder = (lock: { readonly name: string } | null) => unknown

export class PageLocks {
  /** End of the last request, by name. A name without requests has no entry. */
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

/** Puts the locks where the SDK looks for them. */
export function installPageLocks(): void {
  Object.defineProperty(globalThis, 'navigator', {
    value: { onLine: true, locks: new PageLocks() },
    configurable: true,
  })
}
