/**
 * Loads a mutant (Chorus with one added bug). `node --import` runs this file before a server or a
 * workload process. If the environment variable CHORUS_MUTANT contains the path of a built mutant's
 * list, the mutant's files are loaded in place of the product's.
 *
 * A loader hook replaces modules; it runs in a thread of its own. A wrapped `readFileSync` replaces
 * SQL files. All files were written before the process starts, so a mutant starts as fast as the
 * product.
 */
import fs from 'node:fs'
import { register, syncBuiltinESMExports } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { MutantFiles } from './build-mutant.ts'
import { mutantVariable } from './mutant.ts'

const list = process.env[mutantVariable]
if (list !== undefined && list !== '') {
  const readFileSync = fs.readFileSync.bind(fs)
  const files = JSON.parse(readFileSync(list, 'utf8')) as MutantFiles
  register('./mutant-hooks.js', import.meta.url, { data: files })

  const read = (path: fs.PathOrFileDescriptor, options?: Parameters<typeof fs.readFileSync>[1]) =>
    readFileSync(files[toHref(path) ?? ''] ?? path, options)
  fs.readFileSync = read as typeof fs.readFileSync
  syncBuiltinESMExports()
}

function toHref(path: fs.PathOrFileDescriptor): string | undefined {
  if (path instanceof URL) return pathToFileURL(fileURLToPath(path)).href
  return typeof path === 'string' ? pathToFileURL(path).href : undefined
}
