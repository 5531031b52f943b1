/**
 * Things filed under keys, where most keys have one thing: a user has one connection. A thing that is alone is held as it
 * is; only company needs a set.
 */
export class Groups<Key, Item extends object> {
  readonly #groups = new Map<Key, Item | Set<Item>>()

  add(key: Key, item: Item): void {
    const found = this.#groups.get(key)
    if (found === undefined) this.#groups.set(key, item)
    else if (found instanceof Set) found.add(item)
    else if (found !== item) this.#groups.set(key, new Set([found, item]))
  }

  /** False when it was not there. */
  delete(key: Key, item: Item): boolean {
    const found = this.#groups.get(key)
    if (!(found instanceof Set)) return found === item && this.#groups.delete(key)
    const wasThere = found.delete(item)
    if (found.size === 0) this.#groups.delete(key)
    return wasThere
  }

  has(key: Key): boolean {
    return this.#groups.has(key)
  }

  /** Who leaves while it is walked is not met any more. */
  of(key: Key): ReadonlySet<Item> {
    const found = this.#groups.get(key)
    if (found === undefined) return nothing
    return found instanceof Set ? found : new Set([found])
  }

  keys(): IterableIterator<Key> {
    return this.#groups.keys()
  }
}

const nothing: ReadonlySet<never> = new Set()
