/** The store of browsers. */
import { ChorusError } from '@chorus/protocol'
import type { ChatStore } from './store.ts'

/** Keeps everything in IndexedDB, shared by all tabs. `name` separates applications on one origin. */
export function createIndexedDbStore(name = 'chorus'): ChatStore {
  throw new ChorusError('unavailable', `unable to open ${name}; it is not built yet`)
}
