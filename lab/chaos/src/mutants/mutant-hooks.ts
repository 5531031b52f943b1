/**
 * The loader hook. It runs in Node's own thread for hooks and changes the modules that the mutant
 * names.
 */
import type { InitializeHook, LoadHook } from 'node:module'
import { applyEdits } from './apply-edits.ts'
import { findMutant } from './mutants.ts'

interface HookData {
  readonly name: string
  /** URL and file of each module to change. */
  readonly modules: readonly (readonly [string, string])[]
}

let data: HookData = { name: '', modules: [] }

export const initialize: InitializeHook<HookData> = (given) => {
  data = given
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context)
  const file = data.modules.find(([address]) => address === url)?.[1]
  const mutant = findMutant(data.name)
  if (file === undefined || mutant === undefined) return loaded
  const { source } = loaded
  const text = typeof source === 'string' ? source : new TextDecoder().decode(source)
  return { ...loaded, source: applyEdits(mutant, file, text) }
}
