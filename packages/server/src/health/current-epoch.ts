/**
 * Epoch of the database that this server works with. It changes when the database is restored from
 * a backup, or replaced after a failover. Every part reads the epoch from here each time it needs
 * it, so no part continues with an old epoch.
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
