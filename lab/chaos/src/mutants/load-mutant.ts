/**
 * Loader for `node --import`, started before a server or a driver. When CHORUS_MUTANT names a
 * mutant, it changes the mutant's files as they are read.
 *
 * Modules go through a loader hook in a thread of its own. SQL is read by `readFileSync`, which is
 * wrapped here. An edit that does not apply ends the process; otherwise an unchanged product would
 * count as a mutant that was not caught.
 */
import fs from 'node:fs'
import { register, syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { applyEdits } from './apply-edits.ts'
import { mutantVariable } from './mutant.ts'
import { findMutant, repositoryRoot } from './mutants.ts'

const name = process.env[mutantVariable]
if (name !== undefined && name !== '') {
  const mutant = findMutant(name)
  if (mutant === undefined) throw new Error(`unable to load mutant; no mutant is named ${name}`)

  const files = [...new Set(mutant.edits.map(({ file }) => file))]
  const urls = new Map(files.map((file) => [pathToFileURL(join(repositoryRoot, file)).href, file]))
  const modules = [...urls].filter(([, file]) => file.endsWith('.js'))
  if (modules.length > 0) register('./mutant-hooks.js', import.meta.url, { data: { name, modules } })

  const texts = new Map([...urls].filter(([, file]) => !file.endsWith('.js')))
  if (texts.size > 0) {
    const readFileSync = fs.readFileSync.bind(fs)
    const read = (path: fs.PathOrFileDescriptor, options?: Parameters<typeof fs.readFileSync>[1]) => {
      const content = readFileSync(path, options)
      const file = texts.get(toHref(path) ?? '')
      return file === undefined ? content : applyEdits(mutant, file, String(content))
    }
    fs.readFileSync = read as typeof fs.readFileSync
    syncBuiltinESMExports()
  }
}

function toHref(path: fs.PathOrFileDescriptor): string | undefined {
  if (path instanceof URL) return pathToFileURL(fileURLToPath(path)).href
  return typeof path === 'string' ? pathToFileURL(path).href : undefined
}
