/** The process: configuration, start, signals, exit codes. What stops a start is one clear line; what breaks later is in the log. */
import { readConfig } from './config.ts'
import { startNode } from './node.ts'
import { createLogger } from './support/logger.ts'
import { StartError } from './support/start-error.ts'

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const logger = createLogger(config.logLevel, config.serverName)
  const fail = (error: unknown): void => {
    logger.fatal({ err: error }, 'the server broke')
    process.exit(1)
  }
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)

  const node = await startNode(config, logger)
  let isStopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) return
      isStopping = true
      logger.info({ signal }, 'stopping')
      void node.stop().then(() => process.exit(0))
    })
  }
  process.stdout.write(`listening on ${node.url}\n`)
}

main().catch((error: unknown) => {
  const line = error instanceof StartError ? error.message : `unable to start; ${String(error)}`
  process.stderr.write(`${line.replaceAll('\n', ' ')}\n`)
  process.exit(1)
})
