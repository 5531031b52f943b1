/**
 * Notices: short texts that report the result of an action where the page has no better place for
 * it. At most three are shown; each disappears after 6 s.
 */
export interface Notice {
  readonly id: number
  readonly tone: 'info' | 'error'
  readonly text: string
}

const noticesMax = 3
const shownMs = 6_000
const listeners = new Set<() => void>()
let notices: readonly Notice[] = []
let nextId = 1

function set(next: readonly Notice[]): void {
  notices = next
  for (const listener of listeners) listener()
}

export function showNotice(notice: Omit<Notice, 'id'>): void {
  const id = nextId++
  set([...notices.filter(({ text }) => text !== notice.text), { ...notice, id }].slice(-noticesMax))
  setTimeout(() => dismissNotice(id), shownMs)
}

export function dismissNotice(id: number): void {
  if (notices.some((notice) => notice.id === id)) set(notices.filter((notice) => notice.id !== id))
}

export const noticesStore = {
  get: (): readonly Notice[] => notices,
  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  },
}
