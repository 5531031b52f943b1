/**
 * Computes from the rows of the log which users were members of each conversation, at each sequence
 * number (seq). Rules decide by seq which changes a user may see. Each join or removal also has its
 * earliest possible time (when it was requested) and its latest possible time (when it was
 * acknowledged).
 */
import type { Micros } from '../history/index.ts'
import type { History, Operation } from './history.ts'
import { acknowledgedT, firstInvokeT } from './send-facts.ts'

export interface MembershipChange {
  readonly seq: number
  /**
   * Earliest possible time of the join or removal; -Infinity if the history contains no request for
   * it.
   */
  readonly notBeforeT: Micros
  /**
   * Latest possible time of the join or removal; Infinity if the history contains no
   * acknowledgement of it.
   */
  readonly notAfterT: Micros
}

export interface Membership {
  readonly joins: MembershipChange[]
  readonly removals: MembershipChange[]
}

const nobody: Membership = { joins: [], removals: [] }

export class Memberships {
  readonly #byPair = new Map<string, Membership>()
  readonly #usersByConversation = new Map<string, string[]>()

  constructor(history: History) {
    const asked = indexOperations(history.operations)
    const moments = indexMoments(history)
    for (const [conversation, rows] of history.rows) {
      const known = moments.get(conversation)
      const bounds = boundTimes(rows, known ?? new Map())
      for (const [index, row] of rows.entries()) {
        if (row.kind !== 'j' && row.kind !== 'l') continue
        const key = pairKey(conversation, row.member)
        let membership = this.#byPair.get(key)
        if (membership === undefined) {
          membership = { joins: [], removals: [] }
          this.#byPair.set(key, membership)
          const users = this.#usersByConversation.get(conversation)
          if (users === undefined) this.#usersByConversation.set(conversation, [row.member])
          else users.push(row.member)
        }
        const operations = [
          ...(asked.get(`${row.kind} ${key}`) ?? []),
          ...(row.kind === 'j' ? (asked.get(`create ${conversation}`) ?? []) : []),
        ]
        const change = timesOf(operations, row.seq, bounds[index] ?? always)
        if (row.kind === 'j') membership.joins.push(change)
        else membership.removals.push(change)
      }
    }
  }

  /**
   * Returns the user's joins to this conversation and removals from it, each in the order of their
   * sequence numbers.
   */
  of(conversation: string, user: string): Membership {
    return this.#byPair.get(pairKey(conversation, user)) ?? nobody
  }

  /** Returns every user who was a member of the conversation at any time. */
  usersOf(conversation: string): readonly string[] {
    return this.#usersByConversation.get(conversation) ?? []
  }
}

function pairKey(conversation: string, user: string): string {
  return `${conversation} ${user}`
}

/**
 * Returns whether the user was a member at this sequence number. A message version is a sequence
 * number, too.
 */
export function isMemberAt({ joins, removals }: Membership, seq: number): boolean {
  return lastUpTo(joins, seq) > lastUpTo(removals, seq)
}

/**
 * Returns the sequence number of the user's last join or removal at or before `seq`; 0 when there
 * is none.
 */
export function lastUpTo(changes: readonly MembershipChange[], seq: number): number {
  let last = 0
  for (const change of changes) if (change.seq <= seq) last = change.seq
  return last
}

/**
 * Returns the highest sequence number (seq) of the conversation that the user may see at time `t`.
 * Assumes that every join that may have happened by then has happened. The result is the seq of the
 * removal that ended the membership, or Infinity for a member. For a user who cannot have joined by
 * then it is 0: nothing is visible.
 */
export function limitAt({ joins, removals }: Membership, t: Micros): number {
  let lastJoin = -1
  for (const join of joins) if (join.notBeforeT <= t && join.seq > lastJoin) lastJoin = join.seq
  if (lastJoin === -1) return 0
  for (const removal of removals) if (removal.seq > lastJoin) return removal.seq
  return Number.POSITIVE_INFINITY
}

function indexOperations(operations: readonly Operation[]): Map<string, Operation[]> {
  const index = new Map<string, Operation[]>()
  const put = (key: string, operation: Operation) => {
    const known = index.get(key)
    if (known === undefined) index.set(key, [operation])
    else known.push(operation)
  }
  for (const operation of operations) {
    const { invoke } = operation
    // An operation that certainly failed stored no row in the log.
    if (operation.outcome?.type === 'fail') continue
    if (invoke.op === 'member-add') put(`j ${pairKey(invoke.conversation, invoke.member)}`, operation)
    else if (invoke.op === 'member-remove') put(`l ${pairKey(invoke.conversation, invoke.member)}`, operation)
    else if (invoke.op === 'create' && operation.conversation !== undefined) {
      put(`create ${operation.conversation}`, operation)
    }
  }
  return index
}

interface Moment {
  readonly notBeforeT: Micros
  readonly notAfterT: Micros
}

const always: Moment = { notBeforeT: Number.NEGATIVE_INFINITY, notAfterT: Number.POSITIVE_INFINITY }

/**
 * Returns the earliest and latest time at which each message of a conversation can have been
 * stored, by its sequence number: between its first attempt and its first acknowledgement.
 */
function indexMoments(history: History): Map<string, Map<number, Moment>> {
  const moments = new Map<string, Map<number, Moment>>()
  for (const send of history.sends.values()) {
    if (send.row === undefined) continue
    let ofConversation = moments.get(send.conversation)
    if (ofConversation === undefined) {
      ofConversation = new Map()
      moments.set(send.conversation, ofConversation)
    }
    ofConversation.set(send.row.seq, {
      notBeforeT: firstInvokeT(send),
      notAfterT: acknowledgedT(send) ?? Number.POSITIVE_INFINITY,
    })
  }
  return moments
}

/**
 * Returns the earliest and latest possible time of each row. Rows have the order of their commits,
 * so a row between two messages was stored between them.
 */
function boundTimes(
  rows: readonly { readonly seq: number }[],
  moments: ReadonlyMap<number, Moment>,
): readonly Moment[] {
  const notBefore: Micros[] = []
  let t = Number.NEGATIVE_INFINITY
  for (const { seq } of rows) {
    notBefore.push(t)
    t = Math.max(t, moments.get(seq)?.notBeforeT ?? t)
  }
  const bounds = new Array<Moment>(rows.length)
  t = Number.POSITIVE_INFINITY
  for (let index = rows.length - 1; index >= 0; index--) {
    bounds[index] = { notBeforeT: notBefore[index] ?? Number.NEGATIVE_INFINITY, notAfterT: t }
    t = Math.min(t, moments.get(rows[index]?.seq ?? 0)?.notAfterT ?? t)
  }
  return bounds
}

/**
 * Returns the earliest and latest time of the join or removal at `seq`, from the requests that may
 * have caused it. Such a request got a response with this sequence number (seq) or without any, and
 * fits the times of the neighbouring rows. A request whose response has this seq may still not be
 * the cause: adding a member again returns the seq of the first join.
 */
function timesOf(operations: readonly Operation[], seq: number, bounds: Moment): MembershipChange {
  const possible = operations.filter(({ invoke, outcome }) => {
    const endedT = outcome?.type === 'ok' ? outcome.t : Number.POSITIVE_INFINITY
    const isNamed = outcome?.seq === undefined || outcome.seq === seq
    return isNamed && invoke.t <= bounds.notAfterT && endedT >= bounds.notBeforeT
  })
  const [only, ...others] = possible
  const doneT = others.length === 0 && only?.outcome?.type === 'ok' ? only.outcome.t : Number.POSITIVE_INFINITY
  const askedT = only === undefined ? Number.NEGATIVE_INFINITY : Math.min(...possible.map(({ invoke }) => invoke.t))
  return {
    seq,
    notBeforeT: Math.max(bounds.notBeforeT, askedT),
    notAfterT: Math.min(bounds.notAfterT, doneT),
  }
}
