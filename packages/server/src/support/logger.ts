/**
 * Logger: writes one JSON line per event to stdout. Secrets are redacted: cookies, authorization
 * headers, passwords, tokens and message texts in the upper three levels of the logged object.
 * Errors are reduced to type, code, message, stack and cause, because a driver's error may contain
 * rows. Values are encoded as JSON, so a line break in a name cannot forge a line of the log.
 */
import pino from 'pino'
import type { DestinationStream, Logger } from 'pino'

export type { Logger }

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

const secretFields = ['cookie', 'set-cookie', 'authorization', 'password', 'token', 'secret', 'text', 'sid', 'cursor']

function pathsOf(field: string): string[] {
  const key = field.includes('-') ? `["${field}"]` : field
  const dot = field.includes('-') ? '' : '.'
  return [key, `*${dot}${key}`, `*.*${dot}${key}`]
}

const causesMax = 3

interface LoggedError {
  readonly type: string
  readonly message: string
  readonly code?: string
  readonly stack?: string
  readonly cause?: LoggedError
}

function describeError(error: unknown, depth = 0): LoggedError | undefined {
  if (!(error instanceof Error))
    return error === undefined
      ? undefined
      : { type: typeof error, message: typeof error === 'string' ? error : 'not an Error' }
  const { code } = error as { code?: unknown }
  const cause = depth < causesMax ? describeError(error.cause, depth + 1) : undefined
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(cause !== undefined && { cause }),
  }
}

/** Creates a logger. It writes to stdout unless a test passes another `destination`. */
export function createLogger(level: LogLevel, serverName: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { server: serverName },
    redact: { paths: secretFields.flatMap(pathsOf), censor: '[hidden]' },
    serializers: { err: (error: unknown) => describeError(error) },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
