/** The Node loader hook that loads the modules of a mutant. Node runs it in a thread for hooks. */
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
