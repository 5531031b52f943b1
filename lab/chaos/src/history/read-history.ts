/**
 * Reads all history files of a chaos run's folder, event by event, in blocks of 1 MB.
 *
 * Events come file by file, in the order of each file; a caller that needs time order must sort.
 * Operation ids are made unique across files. A killed process can leave a last line without a
 * newline: that line is skipped and counted. Any other unreadable line throws an error that names
 * its file and line.
 */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import { type FileHeader, formatVersion, LineDecoder, UnreadableLine } from './encoding.ts'
import type { HistoryEvent } from './events.ts'
import { historySuffix } from './history-writer.ts'

const blockBytes = 1024 * 1024
const lineMaxChars = 16 * 1024 * 1024
/**
 * A number larger than the number of operations in any file, so ids of different files never
 * collide.
 */
const idsPerFile = 2 ** 36

export interface HistoryFiles {
  /** Names of the history files. The `file` of an event is an index into this list. */
  readonly files: readonly string[]
  readonly lines: number
  /** Number of files whose last line is incomplete and was skipped. */
  readonly cut: number
}

export type HistoryVisitor = (event: HistoryEvent, file: number, line: number) => void

export function readHistory(folder: string, visit: HistoryVisitor): HistoryFiles {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(historySuffix))
    .sort()
  if (files.length === 0) throw new Error(`unable to read history; ${folder} has no file *${historySuffix}`)
  let lines = 0
  let cut = 0
  files.forEach((name, file) => {
    const read = readFile(join(folder, name), file, visit)
    lines += read.lines
    if (read.isCut) cut += 1
  })
  return { files, lines, cut }
}

function readFile(
  path: string,
  file: number,
  visit: HistoryVisitor,
): { readonly lines: number; readonly isCut: boolean } {
  let decoder: LineDecoder | undefined
  let lines = 0
  const takeLine = (text: string) => {
    lines += 1
    try {
      if (decoder === undefined) {
        decoder = new LineDecoder(toHeader(text), file * idsPerFile)
        return
      }
      const event = decoder.decode(text)
      if (event !== undefined) visit(event, file, lines)
    } catch (error) {
      if (!(error instanceof UnreadableLine) && !(error instanceof SyntaxError)) throw error
      throw new Error(`unable to read history; ${path}:${lines} ${error.message}`, { cause: error })
    }
  }

  const handle = openSync(path, 'r')
  const utf8 = new StringDecoder('utf8')
  const block = Buffer.allocUnsafe(blockBytes)
  let rest = ''
  try {
    for (;;) {
      const count = readSync(handle, block, 0, blockBytes, null)
      if (count === 0) break
      const text = rest + utf8.write(block.subarray(0, count))
      let from = 0
      for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', from)) {
        takeLine(text.slice(from, end))
        from = end + 1
      }
      rest = text.slice(from)
      if (rest.length > lineMaxChars) {
        throw new Error(`unable to read history; ${path}:${lines + 1} is longer than ${lineMaxChars} characters`)
      }
    }
  } finally {
    closeSync(handle)
  }
  return { lines, isCut: rest !== '' }
}

function toHeader(text: string): FileHeader {
  const header = JSON.parse(text) as Partial<FileHeader> | null
  if (header?.chorusHistory !== formatVersion || typeof header.t0 !== 'number') {
    throw new UnreadableLine(`is not the first line of a history of version ${formatVersion}`)
  }
  return header as FileHeader
}
