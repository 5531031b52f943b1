/** Last seq of a stream in each of its conversations, and the epoch that the seqs belong to. */
export class StreamPosition {
  readonly #seqs = new Map<string, number>()

  of(conversation: string): number | undefined {
    return this.#seqs.get(conversation)
  }

  reached(conversation: string, seq: number): void {
    if (seq > (this.#seqs.get(conversation) ?? -1)) this.#seqs.set(conversation, seq)
  }

  forget(): void {
    this.#seqs.clear()
  }
}
