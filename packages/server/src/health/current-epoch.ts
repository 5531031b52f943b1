/**
 * The epoch of the database that this server works with. It changes when the database was restored
 * or replaced by a server with less data. Every part reads it here at the moment of use, so none
 * continues in an old epoch.
 */
export class CurrentEpoch {
  #value: string

  constructor(value: string) {
    this.#value = value
  }

  get value(): string {
    return this.#value
  }

  change(value: string): void {
    this.#value = value
  }
}
