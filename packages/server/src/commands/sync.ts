/**
 * Everything that changed in all the asker's conversations since a cursor, in pages; without one, the newest page of each
 * (rules RES1, RES2, RES3). Membership is tested in the same statement as the rows (rule ACL1).
 */
import { type Id, limits, type SyncEntry, type SyncPage } from '@chorus/protocol'
import { type Cursor, encodeCursor } from '../store/cursor.ts'
import { readChangesForMember } from '../store/read-changes.ts'
import type { Memberships } from '../store/read-memberships.ts'
import { readNewestPage } from '../store/read-messages.ts'
import type { CommandHandler } from './command.ts'
import type { Parts } from './parts.ts'
import { isFromTheFuture, planStep, readCursor, type ReplayStep } from './replay.ts'

export const sync: CommandHandler<'sync'> = async ({ parts, actor }, { cursor: text, limit }) => {
  const epoch = parts.epoch()
  const reading = readCursor(text, epoch)
  const asked = reading.kind === 'valid' ? reading.cursor : undefined
  const memberships = await parts.memberships.ask({ user: actor.userId, position: asked?.position ?? 0, session: null })
  if (asked !== undefined && isFromTheFuture(asked, memberships)) {
    const everything = await parts.memberships.ask({ user: actor.userId, position: 0, session: null })
    return { ...(await buildPage(parts, actor.userId, undefined, everything, limit)), reset: true }
  }
  const page = await buildPage(parts, actor.userId, asked, memberships, limit)
  // After a reset the page is that of a first load.
  return reading.kind === 'reset' ? { ...page, reset: true } : page
}

async function buildPage(
  parts: Parts,
  user: Id,
  cursor: Cursor | undefined,
  memberships: Memberships,
  limit: number,
): Promise<SyncPage> {
  const epoch = parts.epoch()
  const nextPosition = cursor?.paging?.nextPosition ?? memberships.position
  const page = new SyncPageBuilder(limit)
  for (const membership of memberships.memberships) {
    // Earlier pages covered these up to the position that the last page hands out.
    if (cursor?.paging !== undefined && membership.conversation < cursor.paging.conversation) continue
    const step = await planStep(parts.database, membership, cursor, undefined)
    if (step === undefined || wasShown(cursor, step)) continue
    const end = await page.add(parts, user, step)
    if (end === undefined) continue
    const paging = { nextPosition, conversation: end.conversation, seq: end.seq }
    return {
      epoch,
      cursor: encodeCursor({ epoch, position: cursor?.position ?? 0, paging }),
      more: true,
      conversations: page.entries,
    }
  }
  return { epoch, cursor: encodeCursor({ epoch, position: nextPosition }), more: false, conversations: page.entries }
}

/** Did the page before end with this conversation, and is nothing left of it? */
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

/** Collects entries until the page's count or bytes are reached. */
class SyncPageBuilder {
  readonly entries: SyncEntry[] = []
  #changesLeft: number
  #bytesLeft: number = limits.pageMaxBytes

  constructor(limit: number) {
    this.#changesLeft = limit
  }

  /** Where the page ended, or undefined while it has room. */
  async add(parts: Parts, user: Id, step: ReplayStep): Promise<{ conversation: Id; seq: number } | undefined> {
    const { conversation, readSeq, unread, seq } = step.membership
    switch (step.kind) {
      case 'left': {
        const changes = await readOwnRemoval(parts, conversation, step.leftSeq)
        return this.#push(
          { conversation, changes, left: true, seq: step.leftSeq, readSeq, unread: 0 },
          conversation,
          step.leftSeq,
        )
      }
      case 'limited': {
        const page = await readNewestPage(parts.database, user, conversation)
        if (page === undefined) return undefined
        const entry = {
          conversation,
          changes: [],
          limited: true,
          seq: page.seq,
          readSeq,
          unread,
          messages: page.messages,
        }
        return this.#push(entry, conversation, page.seq)
      }
      case 'changes': {
        const room = Math.max(1, Math.min(this.#changesLeft, limits.pageMax))
        const page =
          step.after >= seq
            ? { changes: [], seq, more: false }
            : await readChangesForMember(parts.database, user, conversation, step.after, room)
        if (page === undefined) return undefined
        const last = page.changes.at(-1)?.seq ?? step.after
        const end = this.#push(
          { conversation, changes: page.changes, seq: page.seq, readSeq, unread },
          conversation,
          last,
        )
        return page.more ? { conversation, seq: last } : end
      }
    }
  }

  #push(entry: SyncEntry, conversation: Id, seq: number): { conversation: Id; seq: number } | undefined {
    this.entries.push(entry)
    this.#changesLeft -= entry.changes.length + (entry.messages?.length ?? 0)
    this.#bytesLeft -= Buffer.byteLength(JSON.stringify(entry))
    return this.#changesLeft <= 0 || this.#bytesLeft <= 0 ? { conversation, seq } : undefined
  }
}

/** The one change that somebody removed may still see. */
async function readOwnRemoval(parts: Parts, conversation: Id, leftSeq: number): Promise<SyncEntry['changes']> {
  const [removal] = await parts.readRange({ conversation, from: leftSeq, to: leftSeq }, 1)
  return removal === undefined ? [] : [JSON.parse(removal.json) as SyncEntry['changes'][number]]
}
