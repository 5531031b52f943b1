/**
 * A store that can simulate a crash of its program. After `crash`, writes no longer reach the inner
 * store.
 */
import type { ChatStore } from '@chorus/client'

export interface CrashableStore extends ChatStore {
  crash(): void
}

/** Wraps `inner`. `isShared` means that another client, a second tab, uses `inner` too. */
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
    // Keep the inner store open: the next start uses it again.
    close: () => Promise.resolve(),
    crash() {
      isDead = true
    },
  }
}

/**
 * Copies a store as another tab or a restored device would have it: the same cursor, replica and
 * waiting messages.
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
