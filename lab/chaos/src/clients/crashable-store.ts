/** A store whose program can die: from then on its writes do not reach what is kept, as after a kill. */
import type { ChatStore } from '@chorus/client'

export interface CrashableStore extends ChatStore {
  crash(): void
}

/** `isShared`: another client, a second tab, works on `inner` too. */
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
    // What is kept is opened again by the next start.
    close: () => Promise.resolve(),
    crash() {
      isDead = true
    },
  }
}

/** What another tab, or a restored device, would have: the same cursor, the same copy, the same waiting messages. */
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
