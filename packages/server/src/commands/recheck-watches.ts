/** After somebody left a conversation: who watches whom is looked at again, so that presence ends with the last shared conversation (rule PRES2). */
import type { Id } from '@chorus/protocol'
import { readSharing } from '../store/read-memberships.ts'
import type { Parts } from './parts.ts'

export function recheckWatches(parts: Parts, user: Id): void {
  const concerned = new Set([...parts.connections.ofUser(user), ...parts.presences.watchersOf(user)])
  for (const connection of concerned) {
    const watched = [...connection.watched.keys()]
    if (watched.length === 0) continue
    readSharing(parts.database, connection.user, watched).then(
      (shared) => {
        if (connection.isOpen)
          parts.presences.watch(
            connection,
            watched.filter((other) => shared.has(other)),
          )
      },
      (error: unknown) => {
        parts.logger.warn({ err: error }, 'unable to check who may see whom; presence is withheld')
        parts.presences.watch(connection, [])
      },
    )
  }
}
