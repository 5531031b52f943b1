/**
 * The random numbers of a chaos run. They depend on the seed alone, so the same seed gives the same
 * values. Each part of the run draws from a branch of its own, so the draws of one part do not
 * change the values of another.
 */
import { hashText } from '../history/hash-text.ts'

export class Random {
  readonly #name: string
  #state: number

  constructor(name: string) {
    this.#name = name
    this.#state = hashText(name) >>> 0
  }

  /** Returns a number from 0 to below 1 (mulberry32, public domain). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  /** Returns an integer from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.next() * items.length)]
    if (item === undefined) throw new Error('unable to pick; there is nothing to choose from')
    return item
  }

  /**
   * Picks a random item with a probability proportional to its weight. Never picks an item with
   * weight 0.
   */
  pickWeighted<Item>(items: readonly (readonly [item: Item, weight: number])[]): Item {
    const sum = items.reduce((total, [, weight]) => total + weight, 0)
    let left = this.next() * sum
    for (const [item, weight] of items) {
      left -= weight
      if (left < 0) return item
    }
    throw new Error('unable to pick; no item has a weight')
  }

  shuffle<Item>(items: readonly Item[]): Item[] {
    const shuffled = [...items]
    for (let index = shuffled.length - 1; index > 0; index -= 1) {
      const other = this.int(0, index)
      const held = shuffled[index] as Item
      shuffled[index] = shuffled[other] as Item
      shuffled[other] = held
    }
    return shuffled
  }

  /** Returns a separate generator for a part of the run. The same name gives the same values. */
  branch(name: string): Random {
    return new Random(`${this.#name}/${name}`)
  }
}
