/**
 * Reloads the page when a script fails to load. Background: a new version on the server replaces
 * the script files, so an old page asks for files that no longer exist. The page reloads at most
 * once for each build, and only if the server delivers another build. In all other cases, the
 * missing part of the page shows a message (`part.tsx`).
 */
const probeMs = 5_000

export interface Surroundings {
  readonly storage: Pick<Storage, 'getItem' | 'setItem'> | undefined
  readonly isOnline: () => boolean
  readonly fetch: typeof fetch
  readonly reload: () => void
}

/**
 * Returns the function to call when a script is missing. `build` must change with every build, as
 * the file name of the entry script does, which contains a hash.
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
      // Do not reload if the page has already reloaded for this build, or if there is no storage
      // that remembers it.
      if (storage === undefined || storage.getItem(key) === build) return
      // Ask the server first: if it is down, a reload would show the error page of the browser.
      const answer = await fetch('/', { cache: 'no-store', signal: AbortSignal.timeout(probeMs) })
      if (!answer.ok) return
      // The same build means that the network failed for a moment: the script still exists.
      if ((await answer.text()).includes(fileNameOf(build))) return
      storage.setItem(key, build)
      reload()
    } catch {
      // Do not reload if the server or the storage is not available.
    } finally {
      isAsking = false
    }
  }
}

function fileNameOf(address: string): string {
  return address.slice(address.lastIndexOf('/') + 1)
}
