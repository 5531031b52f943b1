/**
 * Sets the user of this connection to online or away. Over plain HTTP, sets the status for all
 * connections of the session, on every server.
 */
import type { Id } from '@chorus/protocol'
import { smallWrite } from '../command-cost.ts'
import type { Command } from '../command.ts'
import type { Parts } from '../parts.ts'
import { requireSession } from '../require-session.ts'

export const setStatus: Command<'set-status'> = {
  cost: { budget: 'requests', requests: smallWrite },
  run: async ({ parts, actor, connection }, { status }) => {
    const { userId: user } = actor
    if (connection === undefined) {
      const session = requireSession(actor)
      parts.feeds.announceDevice({ user, session, status })
      setStatusOfSession(parts, user, session, status)
    } else {
      connection.status = status
      parts.presences.update(user)
    }
    return {}
  },
}

export function setStatusOfSession(
  { connections, presences }: Parts,
  user: Id,
  session: Id,
  status: 'online' | 'away',
): void {
  for (const connection of connections.ofSession(session)) if (connection.user === user) connection.status = status
  presences.update(user)
}
