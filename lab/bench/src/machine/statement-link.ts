/**
 * A link between a server and Postgres that counts, as they pass, how often each of some prepared statements is run for
 * each id that its parameters name. It reads the protocol's frames and changes nothing, so what it says does not depend on
 * what a server counts about itself.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

export interface StatementLink {
  readonly port: number
  /** By id, and by statement. */
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>
  reset(): void
  close(): Promise<void>
}

export async function openStatementLink(targetPort: number, statements: readonly string[]): Promise<StatementLink> {
  const tally = new StatementTally(statements)
  const sockets = new Set<{ destroy(): void }>()
  const server = createServer((near) => {
    const far = connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
    const reader = new MessageReader((body) => tally.note(body))
    near.setNoDelay(true)
    near.on('data', (chunk) => reader.take(chunk))
    near.pipe(far).pipe(near)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => undefined)
      one.once('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve())
  })
  return {
    port: (server.address() as AddressInfo).port,
    get counts() {
      return tally.counts
    },
    reset: () => tally.reset(),
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** What the bodies of `Bind` messages ask for. */
export class StatementTally {
  readonly #statements: ReadonlySet<string>
  #counts = new Map<string, Map<string, number>>()

  constructor(statements: readonly string[]) {
    this.#statements = new Set(statements)
  }

  get counts(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#counts
  }

  reset(): void {
    this.#counts = new Map()
  }

  /** Portal, statement, parameters: two names that end with a zero, then values as text. */
  note(bind: Buffer): void {
    const portalEnd = bind.indexOf(0)
    const nameEnd = bind.indexOf(0, portalEnd + 1)
    const statement = bind.toString('latin1', portalEnd + 1, nameEnd)
    if (!this.#statements.has(statement)) return
    for (const [id] of bind.toString('latin1', nameEnd).matchAll(uuid)) {
      const known = this.#counts.get(id) ?? new Map<string, number>()
      known.set(statement, (known.get(statement) ?? 0) + 1)
      this.#counts.set(id, known)
    }
  }
}

/** Longest message that is gathered; one that is longer ends the counting of its connection. */
const messageMaxBytes = 16 * 1024 * 1024
const bindType = 0x42

/** Cuts the stream of a client into messages and hands on the bodies of `Bind`. */
export class MessageReader {
  readonly #onBind: (body: Buffer) => void
  #rest: Buffer = Buffer.alloc(0)
  #isStarted = false
  #isLost = false

  constructor(onBind: (body: Buffer) => void) {
    this.#onBind = onBind
  }

  take(chunk: Buffer): void {
    if (this.#isLost) return
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    for (;;) {
      // The first message has no type.
      const head = this.#isStarted ? 1 : 0
      if (this.#rest.length < head + 4) return
      const length = head + this.#rest.readUInt32BE(head)
      if (length > messageMaxBytes) {
        this.#isLost = true
        this.#rest = Buffer.alloc(0)
        return
      }
      if (this.#rest.length < length) return
      if (this.#isStarted && this.#rest[0] === bindType) this.#onBind(this.#rest.subarray(5, length))
      this.#rest = this.#rest.subarray(length)
      this.#isStarted = true
    }
  }
}
