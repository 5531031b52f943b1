/**
 * Who was a member when, from the log's own rows: by seq, because that is what access is decided by, and with the
 * earliest time at which each could have happened (when it was asked for) and the latest (when it was acknowledged).
 */
import type { Micros } from '../history/index.ts'
import type { History, Operation } from './history.ts'

export interface MembershipChange {
  readonly seq: number
  /** It cannot have happened before; -Infinity when nobody of the history asked for it. */
  readonly notBeforeT: Micros
  /** It had happened by then; Infinity when no acknowledgement was seen. */
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
    for (const [conversation, rows] of history.rows) {
      for (const row of rows) {
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
        const change = timesOf(asked.get(`${row.kind} ${key}`) ?? asked.get(`create ${conversation}`) ?? [], row.seq)
        if (row.kind === 'j') membership.joins.push(change)
        else membership.removals.push(change)
      }
    }
  }

  /** In seq order. */
  of(conversation: string, user: string): Membership {
    return this.#byPair.get(pairKey(conversation, user)) ?? nobody
  }

  /** Everybody who ever was a member. */
  usersOf(conversation: string): readonly string[] {
    return this.#usersByConversation.get(conversation) ?? []
  }
}

function pairKey(conversation: string, user: string): string {
  return `${conversation} ${user}`
}

/** Is what has this seq (or version) part of the log as of which the user is a member? */
export function isMemberAt({ joins, removals }: Membership, seq: number): boolean {
  return lastUpTo(joins, seq) > lastUpTo(removals, seq)
}

/** The seq of the user's last join at or before `seq`; 0 when there is none. */
export function lastUpTo(changes: readonly MembershipChange[], seq: number): number {
  let last = 0
  for (const change of changes) if (change.seq <= seq) last = change.seq
  return last
}

/**
 * The seq of the removal after which nothing may be seen at time `t`, given everything that may have happened until then:
 * `forbidden` is above it. A user who cannot have joined by then may see nothing at all.
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
    // What certainly failed made no row.
    if (operation.outcome?.type === 'fail') continue
    if (invoke.op === 'member-add') put(`j ${pairKey(invoke.conversation, invoke.member)}`, operation)
    else if (invoke.op === 'member-remove') put(`l ${pairKey(invoke.conversation, invoke.member)}`, operation)
    else if (invoke.op === 'create' && operation.conversation !== undefined) {
      put(`create ${operation.conversation}`, operation)
    }
  }
  return index
}

/** The operation that named the seq, or else any that may have made it. */
function timesOf(operations: readonly Operation[], seq: number): MembershipChange {
  const exact = operations.find(({ outcome }) => outcome?.type === 'ok' && outcome.seq === seq)
  if (exact?.outcome !== undefined) return { seq, notBeforeT: exact.invoke.t, notAfterT: exact.outcome.t }
  const candidates = operations.filter(({ outcome }) => outcome?.type !== 'ok' || outcome.seq === undefined)
  if (candidates.length === 0) return { seq, notBeforeT: Number.NEGATIVE_INFINITY, notAfterT: Number.POSITIVE_INFINITY }
  const [only] = candidates
  return {
    seq,
    notBeforeT: Math.min(...candidates.map(({ invoke }) => invoke.t)),
    notAfterT: candidates.length === 1 && only?.outcome?.type === 'ok' ? only.outcome.t : Number.POSITIVE_INFINITY,
  }
}
