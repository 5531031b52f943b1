/**
 * One look at everything that was written since a position: the safety net under every hint (rule TAIL1).
 *
 * Each part is ordered by transaction id and bounded; where the bound cuts a part, the next position becomes the last id
 * that part returned, plus one, never more than the statement's own, and the next sweep follows at once. Taking simply the last id
 * returned would jump over a writer that is still open. `with ties` keeps a transaction's rows together, so that the id
 * after it is free to follow, however many rows it wrote.
 */
import type { Id } from '@chorus/protocol'
import type { Database } from './database.ts'
import { positionSql, xidParameter } from './position.ts'

export const sweepPartMax = 5_000

export interface SweptMember {
  readonly user: Id
  readonly conversation: Id
  readonly leftSeq: number | null
  /** Null while the marker stands where the membership began. */
  readonly readSeq: number | null
}

export interface Swept {
  /** Where the next sweep begins. */
  readonly position: number
  /** A bound cut a part: sweep again at once. */
  readonly cut: boolean
  /** Is everything seen below the position? A long transaction elsewhere holds it down. */
  readonly covers: boolean
  /** Conversations that changed, with the newest seq seen. */
  readonly conversations: ReadonlyMap<Id, number>
  /** Memberships or read markers that changed. */
  readonly members: readonly SweptMember[]
  readonly revokedSessions: readonly Id[]
}

interface Row {
  readonly position: number
  readonly part: 'changes' | 'members' | 'sessions' | null
  readonly id: Id
  readonly user_id: Id | null
  readonly seq: number | null
  readonly read_seq: number | null
  readonly xid: number
}

export async function sweepChanges(database: Database, position: number): Promise<Swept> {
  const rows = await database.query<Row>({
    name: 'sweep_changes',
    text: `select p.position, s.* from (select ${positionSql} as position) p left join (
             (select 'changes' as part, conversation as id, null::uuid as user_id, seq, null::bigint as read_seq, xid::text::bigint as xid from changes
               where xid >= ${xidParameter(1)} order by xid fetch first ${sweepPartMax} rows with ties)
             union all
             (select 'members', conversation, user_id, left_seq, nullif(read_seq, joined_seq), xid::text::bigint from members
               where xid >= ${xidParameter(1)} order by xid fetch first ${sweepPartMax} rows with ties)
             union all
             (select 'sessions', id, user_id, null, null, xid::text::bigint from sessions
               where xid >= ${xidParameter(1)} and revoked_at is not null order by xid fetch first ${sweepPartMax} rows with ties)
           ) s on true`,
    values: [String(position)],
  })
  const conversations = new Map<Id, number>()
  const members: SweptMember[] = []
  const revokedSessions: Id[] = []
  const counts = { changes: 0, members: 0, sessions: 0 }
  const newest = { changes: 0, members: 0, sessions: 0 }
  for (const row of rows) {
    if (row.part === null) continue
    counts[row.part]++
    newest[row.part] = Math.max(newest[row.part], row.xid)
    switch (row.part) {
      case 'changes':
        conversations.set(row.id, Math.max(conversations.get(row.id) ?? 0, row.seq ?? 0))
        break
      case 'members':
        if (row.user_id !== null)
          members.push({ user: row.user_id, conversation: row.id, leftSeq: row.seq, readSeq: row.read_seq })
        break
      case 'sessions':
        revokedSessions.push(row.id)
        break
    }
  }
  let next = rows[0]?.position ?? position
  let cut = false
  for (const part of ['changes', 'members', 'sessions'] as const) {
    if (counts[part] < sweepPartMax) continue
    cut = true
    next = Math.min(next, newest[part] + 1)
  }
  // Within an epoch a position never goes back.
  return {
    position: Math.max(position, next),
    cut: cut && next > position,
    covers: Math.max(newest.changes, newest.members, newest.sessions) < next,
    conversations,
    members,
    revokedSessions,
  }
}

/** Where a server begins to sweep. */
export async function readPosition(database: Database): Promise<number> {
  const rows = await database.query<{ position: number }>({ text: `select ${positionSql} as position` })
  return rows[0]?.position ?? 3
}
