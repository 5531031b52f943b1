/** The store of Node programs. */
import { ChorusError } from '@chorus/protocol'
import type { ChatStore } from './store.ts'

/** Keeps everything in one file, replaced atomically. One process at a time. */
export function createFileStore(path: string): ChatStore {
  throw new ChorusError('unavailable', `unable to open ${path}; it is not built yet`)
}
