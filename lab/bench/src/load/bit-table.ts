/**
 * A table with one bit per row and column. The load generator records in it which client has
 * received which message.
 */
export class BitTable {
  readonly #bytesEach: number
  readonly #bits: Uint8Array

  constructor(rows: number, columns: number) {
    this.#bytesEach = Math.ceil(columns / 8)
    this.#bits = new Uint8Array(rows * this.#bytesEach)
  }

  has(row: number, column: number): boolean {
    return ((this.#bits[row * this.#bytesEach + (column >> 3)] ?? 0) & (1 << (column & 7))) !== 0
  }

  /** Sets a bit. Returns false if it was already set. */
  add(row: number, column: number): boolean {
    if (this.has(row, column)) return false
    const at = row * this.#bytesEach + (column >> 3)
    this.#bits[at] = (this.#bits[at] ?? 0) | (1 << (column & 7))
    return true
  }

  clearRow(row: number): void {
    this.#bits.fill(0, row * this.#bytesEach, (row + 1) * this.#bytesEach)
  }
}
