/**
 * Counts what is asked of Postgres, as it passes: how often each of some prepared statements was run for each
 * conversation. It reads the protocol's frames and changes nothing, so what it says does not depend on what a server counts.
 */
import type { Tap } from './fault-proxy.ts'

/** Longest message that is looked at. */
const messageMaxBytes = 16 * 1024 * 1024
const bind = 0x42
const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

export class StatementCounter {
  readonly #statements: ReadonlySet<string>
  #counts = new Map<string, Map<string, number>>()

  constructor(statements: readonly string[]) {
    this.#statements = new Set(statements)
  }

  /** By id of what was asked for, and by statement. */
  get counts(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#counts
  }

  reset(): void {
    this.#counts = new Map()
  }

  /** For the proxy: one for each connection. */
  readonly tap = (): Tap => {
    let rest: Buffer = Buffer.alloc(0)
    let isStarted = false
    return {
      forward: (data) => {
        rest = rest.length === 0 ? data : Buffer.concat([rest, data])
        for (;;) {
          // The first message has no type.
          const head = isStarted ? 1 : 0
          if (rest.length < head + 4) break
          const length = head + rest.readUInt32BE(head)
          if (length > messageMaxBytes) {
            rest = Buffer.alloc(0)
            break
          }
          if (rest.length < length) break
          if (isStarted && rest[0] === bind) this.#look(rest.subarray(5, length))
          rest = rest.subarray(length)
          isStarted = true
        }
        return data
      },
    }
  }

  #look(body: Buffer): void {
    const portalEnd = body.indexOf(0)
    const nameEnd = body.indexOf(0, portalEnd + 1)
    const statement = body.toString('latin1', portalEnd + 1, nameEnd)
    if (!this.#statements.has(statement)) return
    for (const [id] of body.toString('latin1', nameEnd).matchAll(uuid)) {
      const known = this.#counts.get(id) ?? new Map<string, number>()
      known.set(statement, (known.get(statement) ?? 0) + 1)
      this.#counts.set(id, known)
    }
  }
}
