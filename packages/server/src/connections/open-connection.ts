/**
 * Sends a new connection everything that its client has missed since its cursor, then keeps it up
 * to date (rules JOIN1, RES1, RES3, ACL1, CP1).
 *
 * The connection is registered before this runs. The steps:
 * 1. Read the memberships (first read), and subscribe to all their conversations.
 * 2. Load the recent changes.
 * 3. Read the memberships again (second read), so that nothing is shown that was loaded after a
 * removal.
 * 4. Send the missed changes page by page (the replay). Each page waits until the client has
 * received the previous one.
 * 5. Hand the connection over to the feeds, which send later changes, and send `ready`.
 */
import { type Id, limits, type Session, type User } from '@chorus/protocol'
import type { Connection } from '../delivery/connection.ts'
import type { Feed, Join } from '../delivery/feed.ts'
import { changesFrame, frameOf } from '../frames/frame.ts'
import { splitBatches } from '../frames/split-batches.ts'
import type { Cursor } from '../log/cursor.ts'
import { type Membership, type Memberships, nothingMoved } from '../log/read-memberships.ts'
import { lookAgain } from './join-conversation.ts'
import type { Parts } from '../commands/parts.ts'
import type { MembershipProof } from '../catch-up/membership-proof.ts'
import { isFromTheFuture, readCursor, type ReplayStep } from '../catch-up/replay.ts'
import { sendRemoval, tellRemoval } from './send-removal.ts'

export const openLimits = {
  /**
   * Maximum number of reads while handing a conversation over from the replay to its feed. Each
   * read gets the changes that were written during the previous read.
   */
  handOverRoundsMax: 128,
  /**
   * Maximum number of consecutive reads whose result had to be dropped, because its messages were
   * edited or deleted during the read.
   */
  readsInVainMax: 32,
} as const

export interface OpenRequest {
  readonly connection: Connection
  readonly cursor: string | undefined
  readonly user: User
  readonly session: Session
}

/** A conversation that the connection is joining, and its feed. */
interface Joining {
  readonly feed: Feed
  readonly join: Join
}

/** Progress of the client in one conversation. */
interface Reached {
  /** The client has every change up to and including this seq. */
  readonly seq: number
  /** The user was a member at this seq, which is `seq` or later. */
  readonly provedSeq: number
}

/** Opens the connection. Resolves when the connection is ready or closed. */
export async function openConnection(
  parts: Parts,
  { connection, cursor: text, user, session }: OpenRequest,
): Promise<void> {
  const epoch = parts.epoch()
  const reading = readCursor(parts.cursors, text, epoch)
  let cursor = reading.kind === 'valid' ? reading.cursor : undefined
  let mustReset = reading.kind === 'reset'

  const first = await parts.memberships.ask({
    user: user.id,
    position: cursor?.position ?? nothingMoved,
    session: session.id,
  })
  if (cursor !== undefined && isFromTheFuture(cursor, first)) {
    cursor = undefined
    mustReset = true
  }

  const joins = new Map<Id, Joining>()
  try {
    await Promise.all(
      first.memberships
        .filter(({ leftSeq }) => leftSeq === null)
        .map(async ({ conversation }) => {
          joins.set(conversation, await parts.feeds.join(conversation, connection))
        }),
    )
    await loadRecent(parts, first, cursor)
    const second = await parts.memberships.ask({
      user: user.id,
      position: cursor?.position ?? nothingMoved,
      session: session.id,
    })
    if (!second.isSessionLive) {
      connection.close('revoked', 'unable to open the connection; the session is no longer valid', 'never')
      return
    }
    if (mustReset) connection.send(frameOf('reset', {}))

    // The user joined these conversations between the two reads. The connection joins them after
    // `ready`, and no cursor covers them before that.
    const late = second.memberships.filter(({ conversation, leftSeq }) => leftSeq === null && !joins.has(conversation))
    for (const { conversation } of late) connection.afterReady.add(conversation)
    const position = late.length === 0 ? second.position : first.position

    // Load the changes written between the two reads of the memberships, unless a hint over Redis
    // has already brought them.
    await loadRecent(parts, second, cursor)

    const replay = new Replay(parts, connection, cursor, { epoch, position, asOf: second.position })
    for (const membership of second.memberships) {
      if (!connection.isOpen) return
      const joining = joins.get(membership.conversation)
      if (membership.leftSeq === null && joining === undefined) continue
      await replay.bring(membership, joining)
      joins.delete(membership.conversation)
    }
    // The remaining joins belong to memberships that ended between the two reads. A client without
    // a cursor gets no removal for them.
    abandonJoins(parts, joins)
    if (!connection.isOpen) return

    connection.becomeReady(position)
    connection.send(
      frameOf('ready', {
        user,
        session,
        server: parts.serverName,
        epoch,
        cursor: parts.cursors.encode({ epoch, position }),
        resumed: cursor !== undefined,
      }),
    )
    lookAgain(parts, connection)
  } finally {
    abandonJoins(parts, joins)
  }
}

function abandonJoins(parts: Parts, joins: Map<Id, Joining>): void {
  for (const { feed, join } of joins.values()) {
    feed.abandonJoin(join)
    parts.feeds.release(feed)
  }
  joins.clear()
}

async function loadRecent(parts: Parts, { memberships }: Memberships, cursor: Cursor | undefined): Promise<void> {
  if (cursor === undefined) return
  const moved = memberships.filter(({ leftSeq, logMoved }) => leftSeq === null && logMoved)
  await parts.catchUp.load(moved, cursor.position)
}

interface ReplayExtent {
  readonly epoch: string
  /**
   * Position of the cursor in `ready`: after the replay, the client has every change before this
   * position.
   */
  readonly position: number
  /** Position of the database snapshot in which the memberships were read. */
  readonly asOf: number
}

/** Sends the missed changes in pages, one conversation after the other. */
class Replay {
  readonly #parts: Parts
  readonly #connection: Connection
  readonly #cursor: Cursor | undefined
  readonly #extent: ReplayExtent
  #changesSincePage = 0
  #bytesSincePage = 0

  constructor(parts: Parts, connection: Connection, cursor: Cursor | undefined, extent: ReplayExtent) {
    this.#parts = parts
    this.#connection = connection
    this.#cursor = cursor
    this.#extent = extent
  }

  async bring(membership: Membership, joining: Joining | undefined): Promise<void> {
    if (membership.leftSeq !== null) {
      // The user was removed after this connection first read the membership, or after its cursor.
      // Send the removal, and do not subscribe to the conversation (rule ACL1).
      const step = this.#cursor === undefined ? undefined : await this.#plan(membership, this.#cursor)
      if (step !== undefined) await this.#send(step, joining)
      this.#abandon(joining)
      return
    }
    if (this.#cursor === undefined) {
      if (joining !== undefined) await this.#handOver(membership, joining.feed, joining.join, reachedBy(membership))
      return
    }
    const step = await this.#plan(membership, this.#cursor)
    if (step === undefined) {
      if (joining !== undefined) await this.#handOver(membership, joining.feed, joining.join, reachedBy(membership))
      return
    }
    const reached = await this.#send(step, joining)
    if (joining === undefined) return
    if (reached === undefined) this.#abandon(joining)
    else await this.#handOver(membership, joining.feed, joining.join, reached)
  }

  #plan(membership: Membership, cursor: Cursor): Promise<ReplayStep | undefined> {
    const { user } = this.#connection
    return this.#parts.catchUp.plan({ user, membership, cursor, settled: this.#extent.asOf, hasLoaded: true })
  }

  #abandon(joining: Joining | undefined): void {
    if (joining === undefined) return
    joining.feed.abandonJoin(joining.join)
    this.#parts.feeds.release(joining.feed)
  }

  /**
   * Sends one step of the plan. Returns how far the client is now, or undefined if it may receive
   * nothing more of the conversation.
   */
  async #send(step: ReplayStep, joining: Joining | undefined): Promise<Reached | undefined> {
    const { conversation, seq, membershipMoved } = step.membership
    switch (step.kind) {
      case 'left': {
        const removal = await this.#parts.catchUp.readRemoval(conversation, step.leftSeq)
        if (removal !== undefined) sendRemoval(this.#connection, removal)
        return undefined
      }
      case 'limited': {
        const { user } = this.#connection
        // Accept no page older than the join: the client may already have had the changes before
        // the join (rule CLI1).
        const page = await this.#parts.catchUp.page(step.proof, step.membership.joinedSeq)
        if (page === undefined) return this.#tellRemoval(conversation)
        // The membership was read with an unread count only if its row changed since the cursor,
        // because counting for every resuming client would cost too much. Otherwise count now.
        const marker =
          membershipMoved && page.seq <= seq ? step.membership : await this.#parts.markers.ask({ user, conversation })
        if (marker === null) return this.#tellRemoval(conversation)
        const { readSeq, unread } = marker
        const state = { conversation, readSeq, unread }
        this.#connection.send(
          frameOf('conversation', { ...state, limited: true, seq: page.seq, messages: page.messages }),
        )
        // The unread count covers changes after the page. Send the seq up to which it counts, so
        // that the client does not count those changes again.
        if (marker.seq > page.seq) this.#connection.send(frameOf('conversation', { ...state, seq: marker.seq }))
        await this.#endPage(conversation, page.seq, page.messages.length * 100)
        return page.seq >= seq
          ? { seq: page.seq, provedSeq: page.seq }
          : this.#sendChanges(step.proof, page.seq, joining)
      }
      case 'changes': {
        const { readSeq, unread } = step.membership
        if (membershipMoved) this.#connection.send(frameOf('conversation', { conversation, seq, readSeq, unread }))
        return this.#sendChanges(step.proof, step.after, joining)
      }
    }
  }

  /** Sends every change with a seq above `after`, up to the seq of the membership proof. */
  async #sendChanges(
    proof: MembershipProof,
    after: number,
    joining: Joining | undefined,
  ): Promise<Reached | undefined> {
    // The proof shows membership only as of its own seq. So send changes only while no removal has
    // arrived since.
    const left = joining?.join.left
    if (left !== undefined && left.seq > proof.seq) {
      sendRemoval(this.#connection, left)
      return undefined
    }
    if (after >= proof.seq) return { seq: after, provedSeq: after }
    // Send only changes up to the seq at which the membership was proved: the cursor in `ready`
    // covers no later change. The feed delivers later changes and applies removals.
    const missed = this.#parts.catchUp.frames(proof, after + 1)
    if (missed === undefined) return this.#readAndSend(proof, after)
    for (const { frame, seq, changes } of missed.frames) {
      this.#connection.send(frame)
      await this.#endPage(proof.conversation, seq, changes, frame.bytes)
      if (!this.#connection.isOpen) return undefined
      // While the client received this page, a message that was not sent yet was edited or deleted.
      // So read the remaining changes again (ERASE1).
      if (!missed.isCurrent()) return this.#readAndSend(proof, seq)
    }
    return { seq: missed.frames.at(-1)?.seq ?? after, provedSeq: proof.seq }
  }

  /**
   * Sends, up to the seq of the proof, the changes that the recent changes no longer contain or
   * already show in a later state. Stops at that seq: on a busy log, reading up to the current end
   * would never finish.
   */
  async #readAndSend(proof: MembershipProof, after: number): Promise<Reached | undefined> {
    const { conversation, seq: top } = proof
    let latest = proof
    let reached = after
    let readsInVain = 0
    while (reached < top) {
      if (readsInVain++ >= openLimits.readsInVainMax)
        throw new Error(`${conversation} is edited faster than the connection reads it`)
      const missed = await this.#parts.catchUp.read(latest, reached + 1, top)
      if (missed === undefined) return this.#tellRemoval(conversation)
      latest = missed.proof
      for (const batch of splitBatches(missed.changes)) {
        if (!this.#connection.isOpen) return undefined
        // A message was edited or deleted during this read: read again from here on (ERASE1).
        if (!missed.isCurrent()) break
        readsInVain = 0
        const frame = changesFrame(conversation, batch)
        this.#connection.send(frame)
        reached = batch.at(-1)?.seq ?? reached
        await this.#endPage(conversation, reached, batch.length, frame.bytes)
      }
    }
    return this.#connection.isOpen ? { seq: reached, provedSeq: Math.max(reached, latest.seq) } : undefined
  }

  /**
   * Counts a sent batch towards the current page. When a page is full, waits until the client has
   * received it, then sends a checkpoint from which the client can resume (rule SLOW1).
   */
  async #endPage(conversation: Id, seq: number, changes: number, bytes = 0): Promise<void> {
    this.#changesSincePage += changes
    this.#bytesSincePage += bytes
    if (this.#changesSincePage < limits.changesPerEventMax && this.#bytesSincePage < limits.pageMaxBytes) return
    this.#changesSincePage = 0
    this.#bytesSincePage = 0
    await this.#connection.whenDrained()
    if (this.#cursor === undefined) return
    const { epoch, position } = this.#extent
    const paging = { nextPosition: this.#cursor.paging?.nextPosition ?? position, conversation, seq }
    const text = this.#parts.cursors.encode({ epoch, position: this.#cursor.position, paging })
    this.#connection.send(frameOf('checkpoint', { cursor: text }))
  }

  /** Sends the removal when a read finds that the user is no longer a member. */
  async #tellRemoval(conversation: Id): Promise<undefined> {
    // The user is a member again by now. The connection joins the conversation after `ready`, and
    // no cursor covers the conversation before that.
    if (await tellRemoval(this.#parts, this.#connection, conversation)) this.#connection.afterReady.add(conversation)
    return undefined
  }

  /**
   * Hands the conversation over from the replay to the feed, so that no change is skipped or sent
   * twice.
   */
  async #handOver({ conversation }: Membership, feed: Feed, join: Join, from: Reached): Promise<void> {
    let reached = from
    for (let round = 0; round < openLimits.handOverRoundsMax; round++) {
      const outcome = feed.finishJoin(join, reached.seq, reached.provedSeq)
      switch (outcome.kind) {
        case 'subscribed':
          this.#parts.feeds.release(feed)
          return
        case 'left':
          sendRemoval(this.#connection, outcome.change)
          this.#parts.feeds.release(feed)
          return
        case 'missing': {
          const proof = await this.#parts.catchUp.prove(this.#connection.user, conversation)
          const more =
            proof === undefined ? await this.#tellRemoval(conversation) : await this.#readAndSend(proof, reached.seq)
          if (more === undefined) {
            this.#abandon({ feed, join })
            return
          }
          reached = more
        }
      }
    }
    // The client reconnects with the checkpoint of its last page, so it does not start again from
    // the beginning (rule LIM1).
    throw new Error(`${conversation} changes faster than the connection reads it`)
  }
}

/**
 * Returns the progress of a client that needs no change up to the seq at which its membership was
 * read.
 */
function reachedBy({ seq }: Membership): Reached {
  return { seq, provedSeq: seq }
}
