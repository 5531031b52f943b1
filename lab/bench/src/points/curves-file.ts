/**
 * Reads and writes curves.json, the file of measured points. Rejects a file of another format
 * version.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { emptyCurves } from './point.ts'
import type { CurvesFile } from './point.ts'

export function readCurves(path: string): CurvesFile {
  if (!existsSync(path)) return emptyCurves
  const file = JSON.parse(readFileSync(path, 'utf8')) as CurvesFile
  if ((file.format as number) !== 1) throw new Error(`unable to read ${path}; its format is ${String(file.format)}`)
  return file
}

export function writeCurves(path: string, file: CurvesFile): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(file, undefined, 2)}\n`)
}
