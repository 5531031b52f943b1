/** Sequence number (seq) of the last change that a client has received, for each conversation. */
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
