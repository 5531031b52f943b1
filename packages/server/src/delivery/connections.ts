/** The registry of all open connections of this server, by user and by session. */
import type { Id } from '@chorus/protocol'
import { Groups } from '../support/groups.ts'
import type { Connection } from './connection.ts'

export class Connections {
  readonly #all = new Set<Connection>()
  readonly #byUser = new Groups<Id, Connection>()
  readonly #bySession = new Groups<Id, Connection>()

  get size(): number {
    return this.#all.size
  }

  add(connection: Connection): void {
    this.#all.add(connection)
    this.#byUser.add(connection.user, connection)
    this.#bySession.add(connection.session, connection)
  }

  delete(connection: Connection): void {
    this.#all.delete(connection)
    this.#byUser.delete(connection.user, connection)
    this.#bySession.delete(connection.session, connection)
  }

  ofUser(user: Id): ReadonlySet<Connection> {
    return this.#byUser.of(user)
  }

  ofSession(session: Id): ReadonlySet<Connection> {
    return this.#bySession.of(session)
  }

  sessions(): IterableIterator<Id> {
    return this.#bySession.keys()
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#all.values()
  }
}
