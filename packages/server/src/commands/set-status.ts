/** Says whether the person at this connection is there. Over plain HTTP it speaks for all connections of the session. */
import type { CommandHandler } from './command.ts'

export const setStatus: CommandHandler<'set-status'> = async ({ parts, actor, connection }, { status }) => {
  for (const changed of connection === undefined ? parts.connections.ofSession(actor.sessionId) : [connection])
    changed.status = status
  parts.presences.update(actor.userId)
  return {}
}
