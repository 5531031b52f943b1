/**
 * A set and a map for collections that are almost always empty. Each connection has several, and
 * ten thousand empty built-in sets take two megabytes. These classes create the built-in collection
 * only while they hold an item, and offer the same methods.
 */

export class LazySet<Item> implements Iterable<Item> {
  #items: Set<Item> | undefined

  get size(): number {
    return this.#items?.size ?? 0
  }

  add(item: Item): void {
    this.#items ??= new Set()
    this.#items.add(item)
  }

  delete(item: Item): boolean {
    const found = this.#items?.delete(item) ?? false
    if (this.#items?.size === 0) this.#items = undefined
    return found
  }

  clear(): void {
    this.#items = undefined
  }

  [Symbol.iterator](): Iterator<Item> {
    return (this.#items ?? nothing)[Symbol.iterator]()
  }
}

export class LazyMap<Key, Value> implements Iterable<readonly [Key, Value]> {
  #entries: Map<Key, Value> | undefined

  get size(): number {
    return this.#entries?.size ?? 0
  }

  has(key: Key): boolean {
    return this.#entries?.has(key) ?? false
  }

  get(key: Key): Value | undefined {
    return this.#entries?.get(key)
  }

  set(key: Key, value: Value): void {
    this.#entries ??= new Map()
    this.#entries.set(key, value)
  }

  delete(key: Key): boolean {
    const found = this.#entries?.delete(key) ?? false
    if (this.#entries?.size === 0) this.#entries = undefined
    return found
  }

  clear(): void {
    this.#entries = undefined
  }

  keys(): Iterable<Key> {
    return this.#entries?.keys() ?? nothing
  }

  [Symbol.iterator](): Iterator<readonly [Key, Value]> {
    return (this.#entries ?? nothing)[Symbol.iterator]()
  }
}

const nothing: readonly never[] = []
