/**
 * Returns every change since a cursor in all conversations of the caller, in pages. Without a
 * cursor, returns the newest page of each conversation (rules RES1, RES2, RES3). Membership is
 * tested in the same statement as the rows (rule ACL1).
 */
import { type Change, ChorusError, type Id, limits, type SyncEntry, type SyncPage } from '@chorus/protocol'
import type { Cursor } from '../../log/cursor.ts'
import { trimToBytes } from '../../log/read-changes.ts'
import { type Memberships, readUnread } from '../../log/read-memberships.ts'
import type { Command } from '../command.ts'
import type { Parts } from '../parts.ts'
import type { MembershipProof } from '../../catch-up/membership-proof.ts'
import { isFromTheFuture, readCursor, type ReplayStep } from '../../catch-up/replay.ts'

export const sync: Command<'sync'> = {
  cost: { budget: 'requests', answer: (result) => result },
  run: async ({ parts, actor }, { cursor, limit }) => {
    const epoch = parts.epoch()
    const page = await answer(parts, actor.userId, cursor, limit)
    if (parts.epoch() === epoch) return page
    // If the database epoch changes during the read, the page may mix two histories or show the old
    // one (RES2).
    const begunIn = parts.epoch()
    const first = await answer(parts, actor.userId, undefined, limit)
    if (parts.epoch() === begunIn) return { ...first, reset: true }
    throw new ChorusError('unavailable', 'unable to sync; the database is being restored', { retryAfterMs: 1_000 })
  },
}

async function answer(parts: Parts, user: Id, text: string | undefined, limit: number): Promise<SyncPage> {
  const reading = readCursor(parts.cursors, text, parts.epoch())
  const asked = reading.kind === 'valid' ? reading.cursor : undefined
  const memberships = await askForPage(parts, user, asked, limit)
  if (asked !== undefined && isFromTheFuture(asked, memberships)) {
    const everything = await askForPage(parts, user, undefined, limit)
    return { ...(await buildPage(parts, user, undefined, everything, limit)), reset: true }
  }
  const page = await buildPage(parts, user, asked, memberships, limit)
  // A page after a reset has the content of a first load.
  return reading.kind === 'reset' ? { ...page, reset: true } : page
}

/**
 * Returns the number of memberships to read for a page. It is one more than the page can show,
 * because the first conversation may be the one at which the previous page ended.
 */
const membershipsOf = (limit: number): number => limit + 1

function askForPage(parts: Parts, user: Id, cursor: Cursor | undefined, limit: number): Promise<Memberships> {
  const page = { from: cursor?.paging?.conversation, limit: membershipsOf(limit) }
  return parts.memberships.ask({ user, position: cursor?.position ?? 0, session: null, page })
}

async function buildPage(
  parts: Parts,
  user: Id,
  cursor: Cursor | undefined,
  { position, memberships }: Memberships,
  limit: number,
): Promise<SyncPage> {
  const epoch = parts.epoch()
  const page = new SyncPageBuilder(limit)
  let end: PageEnd | undefined
  for (const membership of memberships) {
    const step = await parts.catchUp.plan({ user, membership, cursor, settled: position, hasLoaded: false })
    if (step === undefined || wasShown(cursor, step)) continue
    end = await page.add(parts, step)
    if (end !== undefined) break
  }
  // The pages so far are complete only up to the position at which the first page was read. So the
  // cursor of the last page has that position.
  const nextPosition = cursor?.paging?.nextPosition ?? position
  const last = memberships.at(-1)
  if (memberships.length >= membershipsOf(limit) && last !== undefined) {
    end ??= { conversation: last.conversation, seq: last.leftSeq ?? last.seq }
  }
  return {
    epoch,
    cursor: parts.cursors.encode(
      end === undefined
        ? { epoch, position: nextPosition }
        : { epoch, position: cursor?.position ?? 0, paging: { nextPosition, ...end } },
    ),
    more: end !== undefined,
    conversations: await page.entries(parts, user),
  }
}

/**
 * Returns true if the previous page ended with this conversation and nothing of the conversation is
 * left to show.
 */
function wasShown(cursor: Cursor | undefined, step: ReplayStep): boolean {
  if (cursor?.paging?.conversation !== step.membership.conversation) return false
  switch (step.kind) {
    case 'left':
      return true
    case 'limited':
      return step.membership.seq <= cursor.paging.seq
    case 'changes':
      return step.after >= step.membership.seq
  }
}

/** Last conversation of a page, and the seq up to which the page shows it. */
interface PageEnd {
  readonly conversation: Id
  readonly seq: number
}

/** Collects the entries of a sync page until the page reaches its maximum count or bytes. */
class SyncPageBuilder {
  readonly #entries: SyncEntry[] = []
  #changesLeft: number
  #bytesLeft: number = limits.pageMaxBytes

  constructor(limit: number) {
    this.#changesLeft = limit
  }

  /**
   * Adds the entry of one conversation. Returns where the page ended, or undefined if the page has
   * room for more.
   */
  async add({ catchUp }: Parts, step: ReplayStep): Promise<PageEnd | undefined> {
    const { conversation, readSeq } = step.membership
    const unread = 0
    switch (step.kind) {
      case 'left': {
        const removal = await catchUp.readRemoval(conversation, step.leftSeq)
        const changes = removal === undefined ? [] : [JSON.parse(removal.json) as Change]
        return this.#push({ conversation, changes, left: true, seq: step.leftSeq, readSeq, unread }, step.leftSeq)
      }
      case 'limited': {
        const page = await catchUp.page(step.proof)
        if (page === undefined) return undefined
        const { messages } = page
        return this.#push(
          { conversation, changes: [], limited: true, seq: page.seq, readSeq, unread, messages },
          page.seq,
        )
      }
      case 'changes': {
        const room = Math.max(1, Math.min(this.#changesLeft, limits.pageMax))
        const page = await readChanges(catchUp, step.proof, step.after, room)
        if (page === undefined) return undefined
        const last = page.changes.at(-1)?.seq ?? step.after
        const end = this.#push({ conversation, changes: page.changes, seq: page.seq, readSeq, unread }, last)
        return page.more ? { conversation, seq: last } : end
      }
    }
  }

  /**
   * Returns the entries of the page with their unread counts. These are read only now, for the
   * conversations shown.
   */
  async entries(parts: Parts, user: Id): Promise<SyncEntry[]> {
    const shown = this.#entries.filter(({ left }) => left !== true).map(({ conversation }) => conversation)
    if (shown.length === 0) return this.#entries
    const markers = await readUnread(parts.database, user, shown)
    // A user removed during the sync has no unread messages, and no read marker here.
    return this.#entries.map((entry) => ({ ...entry, ...(entry.left !== true && markers.get(entry.conversation)) }))
  }

  #push(entry: SyncEntry, seq: number): PageEnd | undefined {
    this.#entries.push(entry)
    this.#changesLeft -= entry.changes.length + (entry.messages?.length ?? 0)
    this.#bytesLeft -= Buffer.byteLength(JSON.stringify(entry))
    return this.#changesLeft <= 0 || this.#bytesLeft <= 0 ? { conversation: entry.conversation, seq } : undefined
  }
}

interface PageOfChanges {
  readonly changes: Change[]
  readonly seq: number
  readonly more: boolean
}

/**
 * Returns the changes of a conversation after the seq `after` that fit the page. Returns undefined
 * if the user was removed since the membership proof.
 */
async function readChanges(
  catchUp: Parts['catchUp'],
  proof: MembershipProof,
  after: number,
  room: number,
): Promise<PageOfChanges | undefined> {
  const top = proof.seq
  if (after >= top) return { changes: [], seq: top, more: false }
  const read = await catchUp.read(proof, after + 1, Math.min(top, after + room))
  if (read === undefined) return undefined
  const { seq } = read.proof
  const changes = trimToBytes(read.changes.map(({ json }) => JSON.parse(json) as Change))
  return { changes, seq, more: (changes.at(-1)?.seq ?? after) < seq }
}
