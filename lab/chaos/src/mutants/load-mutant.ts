/**
 * Loader for `node --import`, started before a server or a driver. When CHORUS_MUTANT names the
 * list of a built mutant, it loads the mutant's files in place of the product's.
 *
 * Modules go through a loader hook in a thread of its own. SQL is read by `readFileSync`, which is
 * wrapped here. The files were written before the process starts, so a server with a bug starts as
 * fast as one without.
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
