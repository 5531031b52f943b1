/**
 * Ordered local copy of one conversation: pure, without I/O and without a clock (rules NODE1,
 * CLI1).
 *
 * It keeps two things. The log position (`appliedSeq`): every change up to it was reported to the
 * application exactly once, in order. Changes that arrive too early are held back. The window: a
 * contiguous range of messages, built from pages and updated by changes.
 *
 * Background: a page that the server read at seq P already contains every change up to P, even if
 * the log position is lower. The naive way applies every change after the log position to the page,
 * so it counts some reactions twice. Here each message stores the seq up to which it is current,
 * and only later changes are applied to it.
 */
import type { Change, Message, MessagePage, PageMessage, ReactionCount } from '@chorus/protocol'
import { hasMessage } from './change-fields.ts'
import type { WindowRecord } from './store.ts'

/**
 * Maximum number of held changes, that is, changes that arrived too early. Changes beyond it are
 * read again from the server.
 */
export const heldMaxChanges = 1_000
/**
 * Maximum number of applied changes kept in memory. They are applied to pages that the server read
 * before these changes.
 */
export const recentMaxChanges = 1_000
/**
 * Maximum number of messages in a window. Beyond it, messages at the far end are dropped; they can
 * be loaded again.
 */
export const windowMaxMessages = 2_000

/** A message, and the seq up to which its text and reactions are current. */
export interface WindowEntry {
  readonly message: PageMessage
  readonly asOfSeq: number
}

/** A contiguous range of messages, oldest first. Never modified in place. */
export interface TimelineWindow {
  readonly entries: readonly WindowEntry[]
  readonly hasBefore: boolean
  /** True when newer messages exist after the window. New messages are then not appended. */
  readonly hasAfter: boolean
}

/** Result of applying changes or pages to a timeline, and the next step of the caller. */
export interface TimelineStep {
  /** Changes to give to the application now, in this order. */
  readonly applied: readonly Change[]
  /**
   * `read-missing`: changes after `appliedSeq` are missing. The caller waits briefly and then reads
   * them.
   */
  readonly next: 'nothing' | 'read-missing'
}

/**
 * Position of a loaded page: it replaces the window or extends one of its ends. `before` and
 * `after` are the seq of the message at that end when the page was requested. If another message is
 * there now, the page is stale.
 */
export type PagePlacement =
  | { readonly at: 'whole' }
  | { readonly at: 'older'; readonly before: number }
  | { readonly at: 'newer'; readonly after: number }

export interface TimelineOptions {
  /** Id of the signed-in user. Reactions of this user count as `mine`. */
  readonly me: string
  /** Log position: the seq up to which the application already knows every change. */
  readonly appliedSeq: number
  readonly window?: WindowRecord
}

/**
 * Returns the first and the last seq that a change covers. A `skip` covers a range; other changes
 * cover one seq.
 */
export function spanOf(change: Change): { readonly from: number; readonly to: number } {
  return change.type === 'skip' ? { from: change.from, to: change.to } : { from: change.seq, to: change.seq }
}

export class Timeline {
  readonly #me: string
  #appliedSeq: number
  /** Changes that arrived too early, sorted by first seq. */
  #held: Change[] = []
  /**
   * Highest seq received in this conversation. While it is above `appliedSeq`, changes are missing.
   */
  #highestSeq: number
  #recent: Change[] = []
  #window: TimelineWindow | undefined

  constructor({ me, appliedSeq, window }: TimelineOptions) {
    this.#me = me
    this.#appliedSeq = appliedSeq
    this.#highestSeq = appliedSeq
    if (window !== undefined) {
      this.#window = { entries: window.messages, hasBefore: window.hasBefore, hasAfter: false }
    }
  }

  get appliedSeq(): number {
    return this.#appliedSeq
  }

  get window(): TimelineWindow | undefined {
    return this.#window
  }

  get isMissing(): boolean {
    return this.#highestSeq > this.#appliedSeq
  }

  /**
   * Applies changes that arrive in any order, with repeats and gaps. Returns each change once, in
   * order.
   */
  applyChanges(changes: readonly Change[]): TimelineStep {
    const applied: Change[] = []
    for (const change of changes) {
      const { from, to } = spanOf(change)
      this.#highestSeq = Math.max(this.#highestSeq, to)
      if (to <= this.#appliedSeq) continue
      if (from > this.#appliedSeq + 1) this.#hold(change, from)
      else {
        this.#accept(change, to, applied)
        this.#acceptHeld(applied)
      }
    }
    this.#applyToWindow(applied)
    return this.#step(applied)
  }

  /**
   * Joins a page of messages to the window. Returns `stale` when the page no longer joins the
   * window; the caller must then request it again.
   */
  applyPage(page: MessagePage, placement: PagePlacement): 'applied' | 'stale' {
    const missed = this.changesAfter(page.seq)
    if (missed === undefined) return 'stale'
    const entries = page.messages.map((message): WindowEntry => ({ message, asOfSeq: page.seq }))
    const isNewer = placement.at !== 'older'
    const fresh: TimelineWindow = {
      entries,
      hasBefore: page.hasBefore,
      // A page of older messages ends before the window, so newer messages always exist after it.
      hasAfter: isNewer ? page.hasAfter : true,
    }
    const caughtUp = missed.length === 0 ? fresh : applyToWindow(fresh, missed, this.#me)
    const old = this.#window
    switch (placement.at) {
      case 'whole':
        this.#window = caughtUp
        return 'applied'
      case 'older':
        if (old?.entries[0]?.message.seq !== placement.before) return 'stale'
        this.#window = trimmed(
          { entries: [...caughtUp.entries, ...old.entries], hasBefore: page.hasBefore, hasAfter: old.hasAfter },
          'newest',
        )
        return 'applied'
      case 'newer':
        if (old?.entries.at(-1)?.message.seq !== placement.after) return 'stale'
        this.#window = trimmed(
          { entries: [...old.entries, ...caughtUp.entries], hasBefore: old.hasBefore, hasAfter: caughtUp.hasAfter },
          'oldest',
        )
        return 'applied'
    }
  }

  /**
   * Restarts the log position at `seq`, because the server did not replay the changes in between.
   * The application never receives those changes. `messages` is the newest page as of `seq`.
   */
  applyLimited(seq: number, messages: readonly PageMessage[] | undefined): TimelineStep {
    this.#highestSeq = Math.max(this.#highestSeq, seq)
    if (seq > this.#appliedSeq) {
      this.#appliedSeq = seq
      this.#recent = []
      this.#window = undefined
    }
    if (messages !== undefined && (this.#window === undefined || this.#window.entries.length === 0)) {
      const first = messages[0]
      const hasBefore = first !== undefined && first.seq > 1
      // The page is refused as stale if changes since it are no longer in memory. The window then
      // stays empty until the next load.
      this.applyPage({ messages: [...messages], seq, hasBefore, hasAfter: false }, { at: 'whole' })
    }
    const applied: Change[] = []
    this.#acceptHeld(applied)
    this.#applyToWindow(applied)
    return this.#step(applied)
  }

  /**
   * Skips missing changes: moves the log position to just before `seq`, or without `seq` to just
   * before the first held change. Needed for a removed member, who may not read the missed changes
   * (rule ACL1).
   */
  skipTo(seq?: number): TimelineStep {
    const first = this.#held[0]
    const target = seq ?? (first === undefined ? this.#appliedSeq + 1 : spanOf(first).from)
    if (target > this.#appliedSeq + 1) {
      this.#appliedSeq = target - 1
      // The skipped changes are unknown, so a page from before them cannot be updated and must be
      // refused.
      this.#recent = []
    }
    const applied: Change[] = []
    this.#acceptHeld(applied)
    this.#applyToWindow(applied)
    if (this.#held.length === 0) this.#highestSeq = this.#appliedSeq
    return this.#step(applied)
  }

  /** Drops the loaded messages to free memory. The log position stays. */
  dropWindow(): void {
    this.#window = undefined
  }

  /**
   * Returns the newest loaded messages, to be stored on this device. Returns undefined if the loaded
   * messages do not reach the end of the log.
   */
  toRecord(maxMessages: number): WindowRecord | undefined {
    const window = this.#window
    if (window === undefined || window.hasAfter) return undefined
    const messages = window.entries.slice(-maxMessages)
    return { hasBefore: window.hasBefore || messages.length < window.entries.length, messages }
  }

  /**
   * Returns the applied changes above `seq`, or undefined when some of them are no longer in
   * memory.
   */
  changesAfter(seq: number): readonly Change[] | undefined {
    if (seq >= this.#appliedSeq) return []
    const first = this.#recent[0]
    if (first === undefined || spanOf(first).from > seq + 1) return undefined
    return this.#recent.filter((change) => spanOf(change).to > seq)
  }

  find(seq: number): WindowEntry | undefined {
    const entries = this.#window?.entries
    return entries?.[indexOf(entries, seq)]
  }

  #hold(change: Change, from: number): void {
    let low = 0
    let high = this.#held.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const held = this.#held[middle]
      if (held !== undefined && spanOf(held).from < from) low = middle + 1
      else high = middle
    }
    const present = this.#held[low]
    if (present !== undefined && spanOf(present).from === from) {
      if (spanOf(present).to < spanOf(change).to) this.#held[low] = change
      return
    }
    this.#held.splice(low, 0, change)
    if (this.#held.length > heldMaxChanges) this.#held.pop()
  }

  #acceptHeld(applied: Change[]): void {
    let taken = 0
    for (const change of this.#held) {
      const { from, to } = spanOf(change)
      if (from > this.#appliedSeq + 1) break
      taken += 1
      if (to > this.#appliedSeq) this.#accept(change, to, applied)
    }
    if (taken > 0) this.#held.splice(0, taken)
  }

  #accept(change: Change, to: number, applied: Change[]): void {
    this.#appliedSeq = to
    this.#recent.push(change)
    applied.push(change)
  }

  #applyToWindow(applied: readonly Change[]): void {
    if (this.#recent.length > recentMaxChanges) this.#recent.splice(0, this.#recent.length - recentMaxChanges)
    if (this.#window === undefined || applied.length === 0) return
    this.#window = trimmed(applyToWindow(this.#window, applied, this.#me), 'oldest')
  }

  #step(applied: readonly Change[]): TimelineStep {
    return { applied, next: this.isMissing ? 'read-missing' : 'nothing' }
  }
}

/** Returns the index of the message with this seq, or -1. */
function indexOf(entries: readonly WindowEntry[], seq: number): number {
  const index = insertionIndex(entries, seq)
  return entries[index]?.message.seq === seq ? index : -1
}

function insertionIndex(entries: readonly WindowEntry[], seq: number): number {
  const last = entries.at(-1)
  if (last === undefined || last.message.seq < seq) return entries.length
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const entry = entries[middle]
    if (entry !== undefined && entry.message.seq < seq) low = middle + 1
    else high = middle
  }
  return low
}

function applyToWindow(window: TimelineWindow, changes: readonly Change[], me: string): TimelineWindow {
  const entries = [...window.entries]
  for (const change of changes) applyToEntries(entries, change, window.hasAfter, me)
  return { ...window, entries }
}

function applyToEntries(entries: WindowEntry[], change: Change, hasAfter: boolean, me: string): void {
  if (hasMessage(change)) {
    const { message, seq } = change
    const index = insertionIndex(entries, message.seq)
    const present = entries[index]
    if (present?.message.seq === message.seq) entries[index] = withBody(present, message, seq)
    // Append a new message only at the end of the log. A message older than the window belongs to
    // an earlier page.
    else if (change.type === 'message.created' && !hasAfter && index === entries.length) {
      entries.push({ message: { ...message, reactions: [] }, asOfSeq: seq })
    }
    return
  }
  switch (change.type) {
    case 'card.acted': {
      const index = indexOf(entries, change.target)
      const present = entries[index]
      if (present !== undefined) entries[index] = { ...present, message: withAct(present.message, change) }
      return
    }
    case 'reaction.added':
    case 'reaction.removed': {
      const index = indexOf(entries, change.target)
      const present = entries[index]
      if (present === undefined || change.seq <= present.asOfSeq || present.message.deletedAt !== null) return
      const step = change.type === 'reaction.added' ? 1 : -1
      const reactions = countReaction(present.message.reactions, change.emoji, step, change.actor === me)
      entries[index] = { message: { ...present.message, reactions }, asOfSeq: change.seq }
      return
    }
    default:
      // All other changes, including unknown types of a later version, move the log position but do
      // not alter messages.
      return
  }
}

/**
 * Replaces the content of a message when the incoming version is higher (rule CLI1). Reactions are
 * updated separately.
 */
function withBody(entry: WindowEntry, message: Message, seq: number): WindowEntry {
  const asOfSeq = Math.max(entry.asOfSeq, seq)
  if (message.version <= entry.message.version) return { message: entry.message, asOfSeq }
  return { message: { ...message, reactions: reactionsOf(message, entry.message) }, asOfSeq }
}

/**
 * Returns the message with an act on its card. A message whose version is higher than the seq of the
 * act contains it, or a later version of the card.
 */
export function withAct(message: PageMessage, change: Extract<Change, { type: 'card.acted' }>): PageMessage {
  const { seq, action, actor } = change
  if (message.card === undefined || seq <= message.version) return message
  return { ...message, card: { ...message.card, acted: { seq, action, actor } } }
}

/**
 * Returns the reactions of a message after its body was replaced. A deleted message has none, as on
 * the server.
 */
export function reactionsOf(message: Message, before: PageMessage): ReactionCount[] {
  return message.deletedAt === null ? before.reactions : []
}

/** Adds `step` to the count of an emoji. Emoji keep the order in which they were first used. */
export function countReaction(
  reactions: readonly ReactionCount[],
  emoji: string,
  step: 1 | -1,
  isMine: boolean,
): ReactionCount[] {
  const present = reactions.find((reaction) => reaction.emoji === emoji)
  if (present === undefined) {
    return step === 1 ? [...reactions, { emoji, count: 1, mine: isMine }] : [...reactions]
  }
  const count = present.count + step
  if (count <= 0) return reactions.filter((reaction) => reaction !== present)
  const changed = { emoji, count, mine: isMine ? step === 1 : present.mine }
  return reactions.map((reaction) => (reaction === present ? changed : reaction))
}

function trimmed(window: TimelineWindow, dropped: 'oldest' | 'newest'): TimelineWindow {
  if (window.entries.length <= windowMaxMessages) return window
  return dropped === 'oldest'
    ? { ...window, entries: window.entries.slice(-windowMaxMessages), hasBefore: true }
    : { ...window, entries: window.entries.slice(0, windowMaxMessages), hasAfter: true }
}
