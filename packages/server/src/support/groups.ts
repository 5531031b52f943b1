/**
 * Sets of items by key, where most keys have a single item: most users have a single connection. A
 * single item is stored directly. A set is created only when a key gets its second item.
 */
export class Groups<Key, Item extends object> {
  readonly #groups = new Map<Key, Item | Set<Item>>()

  add(key: Key, item: Item): void {
    const found = this.#groups.get(key)
    if (found === undefined) this.#groups.set(key, item)
    else if (found instanceof Set) found.add(item)
    else if (found !== item) this.#groups.set(key, new Set([found, item]))
  }

  /** Removes the item from the key's set. Returns false if it was not in the set. */
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

  /** Returns the items of a key. Iteration skips items that are deleted during it. */
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
