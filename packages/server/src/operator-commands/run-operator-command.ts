/**
 * Runs an operator command from the command line, with the environment of the server. With
 * DATABASE_URL it works on that database, whether or not servers run. Otherwise the server that has
 * DATA_DIR open runs the command; without such a server, the command opens DATA_DIR itself. Wrong
 * arguments end the command before anything is opened.
 */
import { readFileSync } from 'node:fs'
import { readConfig } from '../config/config.ts'
import { connectToHolder } from '../database/directory-lock.ts'
import { migrate } from '../database/migrate.ts'
import { openDatabase } from '../database/open-database.ts'
import { StartError } from '../support/start-error.ts'
import { localRequestLimits, localRequestTimings, localResponseSchema, readLine } from './local-request.ts'
import { UsageError } from './operator-command.ts'
import { type OperatorCommandName, operatorCommands } from './operator-commands.ts'

/** Prints the result to stdout, or the error to stderr, and sets the exit code. */
export async function runOperatorCommand(command: OperatorCommandName, args: readonly string[]): Promise<void> {
  try {
    process.stdout.write(await run(command, readFileArgument(command, args)))
  } catch (error) {
    const reason =
      error instanceof StartError
        ? error.message
        : `unable to run ${command}; ${error instanceof Error ? error.message : 'something failed'}`
    process.stderr.write(`${error instanceof UsageError ? reason : reason.replaceAll('\n', ' ')}\n`)
    process.exitCode = 1
  }
}

/**
 * Replaces the argument that names a file by the text of the file. Done on this side, because a
 * server that runs the command may see other files.
 */
function readFileArgument(command: OperatorCommandName, args: readonly string[]): readonly string[] {
  const index = operatorCommands[command].fileArgument?.(args)
  const path = index === undefined ? undefined : args[index]
  if (index === undefined || path === undefined) return args
  try {
    return args.with(index, readFileSync(path === '-' ? 0 : path, 'utf8'))
  } catch {
    throw new UsageError(`unable to read ${path}; expected a readable file, or - for standard input`)
  }
}

async function run(command: OperatorCommandName, args: readonly string[]): Promise<string> {
  const action = operatorCommands[command].readAction(args)
  const config = readConfig(process.env)
  if (config.databaseUrl === undefined) {
    const text = await runThroughServer(config.dataDir, command, args)
    if (text !== undefined) return text
  }
  const database = await openDatabase(config)
  try {
    await migrate(database)
    return await action(database)
  } finally {
    await database.close()
  }
}

/** Returns undefined if no server has the data directory open. */
async function runThroughServer(
  dataDir: string,
  command: OperatorCommandName,
  args: readonly string[],
): Promise<string | undefined> {
  const socket = await connectToHolder(dataDir)
  if (socket === undefined) return undefined
  try {
    const answer = readLine(socket, localRequestLimits.responseMaxBytes, localRequestTimings.answerMs)
    socket.write(`${JSON.stringify({ command, args })}\n`)
    const response = localResponseSchema.parse(JSON.parse(await answer))
    if (response.kind === 'done') return response.text
    throw response.isUsage ? new UsageError(response.message) : new StartError(response.message)
  } catch (error) {
    if (error instanceof StartError) throw error
    throw new StartError(
      `unable to run ${command}; the server that uses ${dataDir} did not answer: it is starting, or of an earlier version`,
      { cause: error },
    )
  } finally {
    socket.destroy()
  }
}
