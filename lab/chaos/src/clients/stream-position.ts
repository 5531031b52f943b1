/**
 * Sequence number (seq) of the last change that a client has of each conversation, and the epoch
 * (which identifies one database) that these seqs belong to.
 */
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
