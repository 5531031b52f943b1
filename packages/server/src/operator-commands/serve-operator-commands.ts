/**
 * Runs operator commands for other processes over the socket of the data directory
 * (local-request.ts), so that they work while the server with the embedded database runs. Only
 * processes of the same user and of root can connect, because the socket has mode 0600.
 */
import type { Socket } from 'node:net'
import type { Database } from '../database/database.ts'
import type { Logger } from '../support/logger.ts'
import { StartError } from '../support/start-error.ts'
import {
  localRequestLimits,
  localRequestSchema,
  localRequestTimings,
  type LocalResponse,
  readLine,
} from './local-request.ts'
import { UsageError } from './operator-command.ts'
import { operatorCommands } from './operator-commands.ts'

/** Starts to serve. Does nothing for a database that other processes can open themselves. */
export function serveOperatorCommands(database: Database, logger: Logger): void {
  let open = 0
  database.serveLocal?.((socket) => {
    if (open >= localRequestLimits.connectionsMax) {
      socket.destroy()
      return
    }
    open++
    socket.once('close', () => open--)
    // The caller may end its connection at any time.
    socket.on('error', () => undefined)
    void serve(database, logger, socket)
  })
}

async function serve(database: Database, logger: Logger, socket: Socket): Promise<void> {
  let line: string
  try {
    line = await readLine(socket, localRequestLimits.requestMaxBytes, localRequestTimings.arriveMs)
  } catch {
    // Includes the test whether a process holds the lock: it connects and sends nothing.
    socket.destroy()
    return
  }
  const response = await runRequest(database, logger, line)
  socket.setTimeout(localRequestTimings.answerMs, () => socket.destroy())
  socket.end(`${JSON.stringify(response)}\n`)
}

async function runRequest(database: Database, logger: Logger, line: string): Promise<LocalResponse> {
  try {
    const { command, args } = localRequestSchema.parse(JSON.parse(line))
    const known = Object.entries(operatorCommands).find(([name]) => name === command)?.[1]
    if (known === undefined) throw new UsageError(`unable to run ${command}; the running server is of another version`)
    const text = await known.readAction(args)(database)
    logger.info({ command, action: args[0] }, 'ran an operator command')
    return { kind: 'done', text }
  } catch (error) {
    if (error instanceof StartError)
      return { kind: 'failed', message: error.message, isUsage: error instanceof UsageError }
    logger.error({ err: error }, 'an operator command failed')
    return { kind: 'failed', message: 'unable to run the command; the log of the server has the cause', isUsage: false }
  }
}
