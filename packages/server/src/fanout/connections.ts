/** Every open connection of this server, by user and by session. */
import type { Id } from '@chorus/protocol'
import type { Connection } from './connection.ts'

export class Connections {
  readonly #all = new Set<Connection>()
  readonly #byUser = new Map<Id, Set<Connection>>()
  readonly #bySession = new Map<Id, Set<Connection>>()

  get size(): number {
    return this.#all.size
  }

  add(connection: Connection): void {
    this.#all.add(connection)
    addTo(this.#byUser, connection.user, connection)
    addTo(this.#bySession, connection.session, connection)
  }

  delete(connection: Connection): void {
    this.#all.delete(connection)
    deleteFrom(this.#byUser, connection.user, connection)
    deleteFrom(this.#bySession, connection.session, connection)
  }

  ofUser(user: Id): ReadonlySet<Connection> {
    return this.#byUser.get(user) ?? none
  }

  ofSession(session: Id): ReadonlySet<Connection> {
    return this.#bySession.get(session) ?? none
  }

  sessions(): IterableIterator<Id> {
    return this.#bySession.keys()
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#all.values()
  }
}

const none: ReadonlySet<Connection> = new Set()

function addTo(map: Map<Id, Set<Connection>>, key: Id, connection: Connection): void {
  const found = map.get(key)
  if (found === undefined) map.set(key, new Set([connection]))
  else found.add(connection)
}

function deleteFrom(map: Map<Id, Set<Connection>>, key: Id, connection: Connection): void {
  const found = map.get(key)
  found?.delete(connection)
  if (found?.size === 0) map.delete(key)
}
