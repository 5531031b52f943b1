/** The loader hook. It runs in Node's own thread for hooks and loads the mutant's modules. */
import { readFileSync } from 'node:fs'
import type { InitializeHook, LoadHook } from 'node:module'
import type { MutantFiles } from './build-mutant.ts'

let files: MutantFiles = {}

export const initialize: InitializeHook<MutantFiles> = (given) => {
  files = given
}

export const load: LoadHook = (url, context, nextLoad) => {
  const file = files[url]
  if (file === undefined) return nextLoad(url, context)
  return { format: 'module', shortCircuit: true, source: readFileSync(file, 'utf8') }
}
