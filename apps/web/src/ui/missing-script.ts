/**
 * Reloads the page when a script fails to load. A new version on the server replaces hashed files,
 * so an old page must load again: once for each build, and only while the server responds. In all
 * other cases, the missing part shows a message (`part.tsx`).
 */
const probeMs = 5_000

export interface Surroundings {
  readonly storage: Pick<Storage, 'getItem' | 'setItem'> | undefined
  readonly isOnline: () => boolean
  readonly fetch: typeof fetch
  readonly reload: () => void
}

/**
 * Returns a handler for a missing script. `build` must change with every build, as the hashed name
 * of the entry does.
 */
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
      // Without storage, reloads cannot be counted, so do not reload.
      if (storage === undefined || storage.getItem(key) === build) return
      // Probe the server first: if it is down, a reload would show the browser's error page.
      const answer = await fetch('/', { cache: 'no-store', signal: AbortSignal.timeout(probeMs) })
      if (!answer.ok) return
      storage.setItem(key, build)
      reload()
    } catch {
      // The server or the storage is not available.
    } finally {
      isAsking = false
    }
  }
}
