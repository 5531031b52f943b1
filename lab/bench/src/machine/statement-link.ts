/**
 * A TCP proxy between a Chorus server and Postgres. It counts how often the server executes certain
 * prepared statements, by the ids (such as a conversation's) in their parameters.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { StatementCounter } from '@chorus/testkit'

export interface StatementLink {
  readonly port: number
  /** Number of executions: by id, and within each id by statement name. */
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>
  reset(): void
  close(): Promise<void>
}

export async function openStatementLink(targetPort: number, statements: readonly string[]): Promise<StatementLink> {
  const counter = new StatementCounter(statements)
  const sockets = new Set<{ destroy(): void }>()
  const server = createServer((near) => {
    const far = connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
    const take = counter.reader()
    near.setNoDelay(true)
    near.on('data', take)
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
      return counter.counts
    },
    reset: () => counter.reset(),
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
