/**
 * What was typed and not sent, per person and conversation, in localStorage: it survives a reload, a crash and another conversation.
 * Holds the newest 200 drafts; older ones go first. Without storage it lasts as long as the page.
 */
export interface Draft {
  readonly text: string
  readonly replyTo?: number
}

const draftsMax = 200
const empty: Draft = { text: '' }

export interface Drafts {
  read(conversation: string): Draft
  /** An empty draft is removed. */
  write(conversation: string, draft: Draft): void
  subscribe(listener: () => void): () => void
}

export type DraftStorage = Pick<Storage, 'getItem' | 'setItem'>

export function createDrafts(user: string, storage: DraftStorage | undefined): Drafts {
  const key = `chorus.drafts.${user}`
  const listeners = new Set<() => void>()
  const drafts = new Map<string, Draft>(read())

  function read(): [string, Draft][] {
    try {
      const stored: unknown = JSON.parse(storage?.getItem(key) ?? '[]')
      return Array.isArray(stored) ? stored.filter(isEntry).map(([id, draft]) => [id, draft]) : []
    } catch {
      return []
    }
  }

  return {
    read: (conversation) => drafts.get(conversation) ?? empty,
    write(conversation, draft) {
      drafts.delete(conversation)
      if (draft.text.trim() !== '' || draft.replyTo !== undefined) drafts.set(conversation, draft)
      for (const oldest of drafts.keys()) {
        if (drafts.size <= draftsMax) break
        drafts.delete(oldest)
      }
      try {
        storage?.setItem(key, JSON.stringify([...drafts]))
      } catch {
        // Storage is full or forbidden: the draft stays in memory.
      }
      for (const listener of listeners) listener()
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function isEntry(value: unknown): value is [string, Draft] {
  if (!Array.isArray(value) || typeof value[0] !== 'string') return false
  const draft: unknown = value[1]
  return typeof draft === 'object' && draft !== null && 'text' in draft && typeof draft.text === 'string'
}
