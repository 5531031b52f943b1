/**
 * A client library's store that can simulate a crash of its program. After `crash`, writes no
 * longer reach the wrapped store.
 */
import type { ChatStore } from '@chorus/client'

export interface CrashableStore extends ChatStore {
  crash(): void
}

/**
 * Wraps the store `inner`. `isShared` means that another client (a second browser tab) uses
 * `inner`, too.
 */
export function makeCrashable(inner: ChatStore, isShared: boolean): CrashableStore {
  let isDead = false
  const write = (run: () => Promise<void>): Promise<void> => (isDead ? Promise.resolve() : run())
  return {
    isShared,
    readAccount: () => inner.readAccount(),
    writeAccount: (account) => write(() => inner.writeAccount(account)),
    readReplica: (userId) => inner.readReplica(userId),
    readGeneration: (userId) => inner.readGeneration(userId),
    commitReplica: (userId, commit) =>
      isDead
        ? Promise.resolve({ kind: 'stored', generation: commit.base, foreign: [] })
        : inner.commitReplica(userId, commit),
    readOutbox: (userId) => inner.readOutbox(userId),
    putOutbox: (userId, record) => write(() => inner.putOutbox(userId, record)),
    removeOutbox: (userId, clientIds) => write(() => inner.removeOutbox(userId, clientIds)),
    clear: (userId, what) => write(() => inner.clear(userId, what)),
    // Keep the wrapped store open: the client uses it again after its restart.
    close: () => Promise.resolve(),
    crash() {
      isDead = true
    },
  }
}

/**
 * Copies a client's store, as when a browser profile is duplicated or a device is restored. The
 * copy has the same cursor, local messages and waiting messages.
 */
export async function copyStore(from: ChatStore, to: ChatStore, userId: string): Promise<void> {
  const account = await from.readAccount()
  await to.writeAccount(account)
  const replica = await from.readReplica(userId)
  if (replica !== undefined) {
    const { generation: _, ...copied } = replica
    await to.commitReplica(userId, { ...copied, base: await to.readGeneration(userId), replace: true })
  }
  for (const record of await from.readOutbox(userId)) await to.putOutbox(userId, record)
}
