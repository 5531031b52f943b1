/**
 * Drafts per user and conversation in localStorage: unsent text, a started reply, and edits. Drafts
 * survive a reload, a crash and a switch of conversation, and all tabs show the same drafts. Keeps
 * the newest 200 drafts and removes the oldest first. If storage fails, a draft lasts as long as
 * the page.
 */
export interface Edit {
  readonly seq: number
  readonly text: string
  /**
   * `saving`: the edit was sent to the server and is not acknowledged yet. Only the tab that sent
   * it keeps this state, in memory; after a reload the edit is open again.
   * `aside`: the user started a reply during the edit. Editing the same message again restores its
   * text.
   */
  readonly state?: 'saving' | 'aside'
}

export interface Draft {
  readonly text: string
  readonly replyTo?: number
  /** Unfinished edits, oldest first. The composer shows the last edit that has no `state`. */
  readonly edits?: readonly Edit[]
}

const draftsMax = 200
/** Maximum number of edits per conversation. The oldest is removed first. */
export const editsMax = 10
const empty: Draft = { text: '' }

export interface Drafts {
  read(conversation: string): Draft
  /**
   * Stores a draft, or removes it if it is empty. With `isLeaving`, the new draft stays in memory
   * only, and storage keeps the previous one until the next write. So the text of a message is not
   * lost if the tab closes before the outbox has stored the message.
   */
  write(conversation: string, draft: Draft, isLeaving?: boolean): void
  subscribe(listener: () => void): () => void
}

export type DraftStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>

export function createDrafts(user: string, storage: DraftStorage | undefined): Drafts {
  const prefix = prefixOf(user)
  const listeners = new Set<() => void>()
  let watching: AbortController | undefined
  const drafts = new Map<string, Draft>()
  /**
   * The string in storage from which each draft in memory was parsed. If storage has another
   * string, another tab has written.
   */
  const sources = new Map<string, string | null>()
  /** Conversations whose newest draft is in memory only. */
  const unstored = new Set<string>()
  takeOver(user, storage)

  const stored = (conversation: string): string | null => tryTo(() => storage?.getItem(prefix + conversation)) ?? null

  const forget = (conversation: string): void => {
    if (unstored.has(conversation)) return
    drafts.delete(conversation)
    sources.delete(conversation)
  }
  const forgetAll = (): void => [...drafts.keys()].forEach(forget)
  const tell = (): void => {
    for (const listener of listeners) listener()
  }
  const followStorage = ({ key }: StorageEvent): void => {
    if (key === null) forgetAll()
    else if (key.startsWith(prefix)) forget(key.slice(prefix.length))
    else return
    tell()
  }
  // Read all drafts again: while a page is in the back-forward cache of the browser, it misses the
  // writes of other tabs.
  const followShow = (): void => {
    forgetAll()
    tell()
  }

  const read = (conversation: string): Draft => {
    const known = drafts.get(conversation)
    if (known !== undefined) return known
    const source = stored(conversation)
    const draft = parse(source)
    drafts.set(conversation, draft)
    sources.set(conversation, source)
    return draft
  }

  return {
    read,
    write(conversation, next, isLeaving = false) {
      read(conversation)
      const present = stored(conversation)
      // If another tab wrote and its storage event has not arrived yet, keep both texts.
      const draft = present === sources.get(conversation) ? next : merge(parse(present), next)
      drafts.set(conversation, draft)
      if (isLeaving) unstored.add(conversation)
      else {
        const source = serialize(draft)
        if (source !== null && present === null) makeRoom(prefix, storage)
        if (store(prefix + conversation, source, storage)) {
          unstored.delete(conversation)
          sources.set(conversation, source)
        } else unstored.add(conversation)
      }
      tell()
    },
    subscribe(listener) {
      if (listeners.size === 0) {
        forgetAll()
        watching = watchWindow(followStorage, followShow)
      }
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) watching?.abort()
      }
    },
  }
}

/** Calls the listeners until the returned controller is aborted. */
function watchWindow(onStorage: (event: StorageEvent) => void, onShow: () => void): AbortController {
  const watching = new AbortController()
  window.addEventListener('storage', onStorage, { signal: watching.signal })
  window.addEventListener('pageshow', onShow, { signal: watching.signal })
  return watching
}

/** Removes every draft of a user from this browser. Called after the user signed out. */
export function forgetDrafts(user: string, storage: DraftStorage | undefined): void {
  for (const key of keysOf(prefixOf(user), storage)) tryTo(() => storage?.removeItem(key))
}

export function draftStorage(): Storage | undefined {
  return tryTo(() => window.localStorage)
}

function prefixOf(user: string): string {
  return `chorus.draft.${user}.`
}

/**
 * Runs a function that accesses the browser storage, which may be missing, full or forbidden at any
 * time. Returns undefined if it fails.
 */
function tryTo<Result>(access: () => Result): Result | undefined {
  try {
    return access()
  } catch {
    return undefined
  }
}

function keysOf(prefix: string, storage: DraftStorage | undefined): string[] {
  const keys = tryTo(() => Array.from({ length: storage?.length ?? 0 }, (_, index) => storage?.key(index)))
  return (keys ?? []).filter((key) => typeof key === 'string').filter((key) => key.startsWith(prefix))
}

/** Writes an item, or removes it for null. Returns false if storage failed or is missing. */
function store(key: string, source: string | null, storage: DraftStorage | undefined): boolean {
  const isStored = tryTo(() => {
    if (source === null) storage?.removeItem(key)
    else storage?.setItem(key, source)
    return storage !== undefined
  })
  return isStored === true
}

/** Removes the oldest drafts if another draft would exceed the limit. */
function makeRoom(prefix: string, storage: DraftStorage | undefined): void {
  const keys = keysOf(prefix, storage)
  if (keys.length < draftsMax) return
  const ageOf = (key: string): number => Number(/"at":(\d+)}$/.exec(tryTo(() => storage?.getItem(key)) ?? '')?.[1] ?? 0)
  const byAge = keys.map((key) => ({ key, at: ageOf(key) })).sort((a, b) => a.at - b.at)
  for (const { key } of byAge.slice(0, keys.length - draftsMax + 1)) tryTo(() => storage?.removeItem(key))
}

let newestAt = 0

function serialize({ text, replyTo, edits = [] }: Draft): string | null {
  const hasText = text.trim() !== ''
  if (!hasText && replyTo === undefined && edits.length === 0) return null
  // Give each draft a later time than the one before, so that drafts written within one millisecond
  // keep their order.
  newestAt = Math.max(Date.now(), newestAt + 1)
  const kept = edits.map((edit) => (edit.state === 'saving' ? { seq: edit.seq, text: edit.text } : edit))
  return JSON.stringify({ text: hasText ? text : '', replyTo, edits: kept, at: newestAt })
}

function parse(source: string | null): Draft {
  const value = tryTo<unknown>(() => JSON.parse(source ?? ''))
  if (typeof value !== 'object' || value === null || !('text' in value) || typeof value.text !== 'string') return empty
  const replyTo = 'replyTo' in value && typeof value.replyTo === 'number' ? { replyTo: value.replyTo } : {}
  const edits = 'edits' in value && Array.isArray(value.edits) ? value.edits.filter(isEdit) : []
  return { text: value.text, ...replyTo, ...(edits.length > 0 && { edits }) }
}

function isEdit(value: unknown): value is Edit {
  if (typeof value !== 'object' || value === null || !('seq' in value) || !('text' in value)) return false
  return typeof value.seq === 'number' && typeof value.text === 'string'
}

function merge(theirs: Draft, ours: Draft): Draft {
  const [their, our] = [theirs.text.trim(), ours.text.trim()]
  const isOneEnough = our.includes(their) || their.includes(our)
  const text = !isOneEnough ? `${theirs.text}\n${ours.text}` : our.length >= their.length ? ours.text : theirs.text
  const edits = [
    ...(theirs.edits ?? []).filter(({ seq }) => !ours.edits?.some((edit) => edit.seq === seq)),
    ...(ours.edits ?? []),
  ]
  return { ...theirs, ...ours, text, ...(edits.length > 0 && { edits }) }
}

/** Migrates the drafts of earlier versions, which kept all drafts of a user under one key. */
function takeOver(user: string, storage: DraftStorage | undefined): void {
  const key = `chorus.drafts.${user}`
  tryTo(() => {
    const entries: unknown = JSON.parse(storage?.getItem(key) ?? 'null')
    if (!Array.isArray(entries)) return
    for (const [conversation, draft] of entries as [string, Draft][]) {
      const source = serialize(parse(JSON.stringify(draft)))
      if (source !== null) storage?.setItem(prefixOf(user) + conversation, source)
    }
  })
  tryTo(() => storage?.removeItem(key))
}
