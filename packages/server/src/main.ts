/**
 * Process of the server: reads the configuration, starts the server, handles signals and sets the
 * exit code. An error during the start is printed as one line on stderr, with exit status 1. Later
 * errors are written to the log. SIGTERM and SIGINT stop the parts of the server in order, within
 * 15 s even if a part hangs.
 */
import { readConfig } from './config/config.ts'
import { startNode } from './start/node.ts'
import type { Node } from './start/node.ts'
import { createLogger } from './support/logger.ts'
import type { Logger } from './support/logger.ts'
import { StartError } from './support/start-error.ts'

const exitDeadlineMs = 15_000

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const logger = createLogger(config.logLevel, config.serverName)
  const fail = (error: unknown): void => {
    logger.fatal({ err: error }, 'the server failed unexpectedly')
    process.exit(1)
  }
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)

  const node = await startNode(config, logger)
  stopOnSignals(node, logger)
  process.stdout.write(`listening on ${node.url}\n`)
}

function stopOnSignals(node: Node, logger: Logger): void {
  let isStopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // Repeated signals are ignored. Ctrl-C reaches every process of the group, and npm start also
      // forwards the signal, so it arrives twice.
      if (isStopping) return
      isStopping = true
      logger.info({ signal }, 'stopping')
      setTimeout(() => {
        logger.error('the server did not stop in time')
        process.exit(1)
      }, exitDeadlineMs).unref()
      void node.stop().then(() => process.exit(0))
    })
  }
}

main().catch((error: unknown) => {
  const line = error instanceof StartError ? error.message : `unable to start; ${String(error)}`
  process.stderr.write(`${line.replaceAll('\n', ' ')}\n`)
  process.exit(1)
})
