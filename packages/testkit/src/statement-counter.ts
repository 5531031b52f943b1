/**
 * Counts, for each id, how often given prepared statements run with that id as a parameter. Reads
 * the messages of the Postgres protocol on a connection, so the counts do not depend on the
 * server's own metrics.
 */

/** Maximum length of a buffered message. A longer message ends the counting of its connection. */
const messageMaxBytes = 16 * 1024 * 1024
const bindType = 0x42
const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

export class StatementCounter {
  readonly #statements: ReadonlySet<string>
  #counts = new Map<string, Map<string, number>>()

  /**
   * Counts runs of these statements only.
   *
   * @param statements - names of prepared statements
   */
  constructor(statements: readonly string[]) {
    this.#statements = new Set(statements)
  }

  /** Number of runs, by id and then by name of the statement. */
  get counts(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#counts
  }

  reset(): void {
    this.#counts = new Map()
  }

  /**
   * Returns a reader for one database connection. Call the reader with all bytes that the client
   * sends, in chunks of any size.
   */
  reader(): (chunk: Buffer) => void {
    let rest: Buffer = Buffer.alloc(0)
    let isStarted = false
    let isLost = false
    return (chunk) => {
      if (isLost) return
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      for (;;) {
        // The first message of a Postgres connection has no type byte.
        const head = isStarted ? 1 : 0
        if (rest.length < head + 4) return
        const length = head + rest.readUInt32BE(head)
        if (length > messageMaxBytes) {
          isLost = true
          rest = Buffer.alloc(0)
          return
        }
        if (rest.length < length) return
        if (isStarted && rest[0] === bindType) this.#note(rest.subarray(5, length))
        rest = rest.subarray(length)
        isStarted = true
      }
    }
  }

  /**
   * Counts one Bind message: portal name, statement name, parameters. Both names end with a zero
   * byte; the values are text.
   */
  #note(bind: Buffer): void {
    const portalEnd = bind.indexOf(0)
    const nameEnd = bind.indexOf(0, portalEnd + 1)
    const statement = bind.toString('latin1', portalEnd + 1, nameEnd)
    if (!this.#statements.has(statement)) return
    // Count a run once per id, even if several parameters contain the id.
    for (const id of new Set(bind.toString('latin1', nameEnd).match(uuid))) {
      const known = this.#counts.get(id) ?? new Map<string, number>()
      known.set(statement, (known.get(statement) ?? 0) + 1)
      this.#counts.set(id, known)
    }
  }
}
