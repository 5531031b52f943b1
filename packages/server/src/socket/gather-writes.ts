/**
 * What one turn of the event loop writes to a connection leaves in one system call: the acknowledgements of a batch, and
 * the changes that its flush delivers right after. A socket is corked at its first write of the turn and uncorked in an
 * immediate, which runs behind the flush that the same batch asked for. Nothing waits for longer than that turn.
 */
import type { Socket } from 'node:net'

const corked = new Set<Socket>()

/** Holds back what is written to this socket until the turn ends. */
export function gatherWrites(socket: Socket): void {
  if (corked.has(socket)) return
  socket.cork()
  if (corked.size === 0) setImmediate(release)
  corked.add(socket)
}

function release(): void {
  const sockets = [...corked]
  corked.clear()
  for (const socket of sockets) socket.uncork()
}
