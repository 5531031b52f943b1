/**
 * A replacement for localStorage, separate for each test. It sends the storage event that a browser
 * sends to other tabs.
 */
import type { Draft, DraftStorage, Drafts } from '../drafts.ts'

export interface TestStorage extends DraftStorage {
  /**
   * Writes a draft through the drafts object of another tab, and sends the storage event to this
   * tab.
   */
  readonly as: (otherTab: Drafts, conversation: string, draft: Draft) => void
}

export function createStorage(initial: Record<string, string> = {}): TestStorage {
  const data = new Map(Object.entries(initial))
  let written: string | undefined
  return {
    get length() {
      return data.size
    },
    key: (index) => [...data.keys()][index] ?? null,
    getItem: (key) => data.get(key) ?? null,
    setItem: (key, value) => {
      written = key
      data.set(key, value)
    },
    removeItem: (key) => {
      written = key
      data.delete(key)
    },
    as(otherTab, conversation, draft) {
      otherTab.write(conversation, draft)
      window.dispatchEvent(new StorageEvent('storage', { key: written ?? null }))
    },
  }
}
