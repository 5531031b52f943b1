/**
 * A script that does not come. A new version on the server replaces hashed files, so an old page must load again: once for each
 * build, and only while the server answers. After that, and offline, the part that is missing says so (`part.tsx`).
 */
const probeMs = 5_000

export interface Surroundings {
  readonly storage: Pick<Storage, 'getItem' | 'setItem'> | undefined
  readonly isOnline: () => boolean
  readonly fetch: typeof fetch
  readonly reload: () => void
}

/** Returns a handler; `build` changes with every build, as the hashed name of the entry does. */
export function createReloadOnce(
  build: string,
  { storage, isOnline, fetch, reload }: Surroundings,
): () => Promise<void> {
  const key = 'chorus.reloaded-for'
  let isAsking = false
  return async () => {
    if (isAsking || !isOnline()) return
    isAsking = true
    try {
      // Where nothing can be stored, reloads cannot be counted: there are none.
      if (storage === undefined || storage.getItem(key) === build) return
      // Without the server, the browser would show its own error page.
      const answer = await fetch('/', { cache: 'no-store', signal: AbortSignal.timeout(probeMs) })
      if (!answer.ok) return
      storage.setItem(key, build)
      reload()
    } catch {
      // No server, or no storage.
    } finally {
      isAsking = false
    }
  }
}
