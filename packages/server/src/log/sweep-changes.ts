/**
 * Reads all rows written since the last sweep. So a server finds changes of other servers even when
 * their hints over Redis were lost (rule TAIL1).
 *
 * A naive sweep would start after the last transaction id that it has read. It would miss a
 * transaction that has a lower id but commits later.
 *
 * Instead, a sweep position records for each table (called a part) a transaction id `next` and the
 * transactions below `next` that are still open. All other transactions below `next` have been
 * read. The next sweep reads the rows of transactions from `next` on, and of the recorded open
 * transactions. So a long transaction keeps the position in clients' cursors low, but newer rows
 * are still found, and no row is read twice.
 *
 * Each part is ordered by transaction id and limited. If the limit cuts a part, the next sweep
 * follows at once after the last id read, and the position stays at or below that id. `with ties`
 * keeps all rows of a transaction together, so the next sweep can start at the following id. After
 * a crash, Postgres may reuse the ids of transactions that left no rows. So `next` is at most one
 * above the newest id stored in any row (see position.ts).
 */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { openTransactionsSql, positionSql, storedNextSql, xidParameter } from './position.ts'

export const sweepPartMax = 5_000

export interface SweptMember {
  readonly user: Id
  readonly conversation: Id
  readonly leftSeq: number | null
  /** Seq of the read marker. Null while the user has not moved it since joining. */
  readonly readSeq: number | null
  /** Id of the transaction that wrote the row. */
  readonly xid: number
}

const parts = ['changes', 'members', 'sessions'] as const

type Part = (typeof parts)[number]

interface PartPlace {
  /** Lowest transaction id that was not read yet. */
  readonly next: number
  /**
   * Ids of transactions below `next` that were still open. At most the number of connections and
   * prepared transactions of Postgres.
   */
  readonly open: readonly number[]
}

/** Progress of a server's sweep. */
export interface SweepPosition {
  /**
   * Transaction id below which all rows were read and no transaction is open any more. A cursor may
   * contain it.
   */
  readonly position: number
  /** Newest transaction id of any row read so far. */
  readonly newest: number
  readonly parts: Readonly<Record<Part, PartPlace>>
}

export interface Swept {
  /** Position at which the next sweep starts. */
  readonly place: SweepPosition
  /** True when a table had more new rows than the limit: the next sweep must follow at once. */
  readonly cut: boolean
  /**
   * True when every row read so far is below the position. False while a long transaction, possibly
   * of another program, holds the position back.
   */
  readonly covers: boolean
  /** Newest seq read of each changed conversation. */
  readonly conversations: ReadonlyMap<Id, number>
  /** Memberships that changed, including moved read markers. */
  readonly members: readonly SweptMember[]
  readonly revokedSessions: readonly Id[]
}

interface Row {
  readonly part: Part | 'place' | 'open'
  /** True when the transaction of the row was open during the last sweep. */
  readonly was_open: boolean
  readonly id: Id
  readonly user_id: Id | null
  readonly seq: number | null
  readonly read_seq: number | null
  readonly xid: number
}

/** Returns the sweep position of a server that starts at this transaction id. */
export function placeAt(position: number): SweepPosition {
  const start: PartPlace = { next: position, open: [] }
  return { position, newest: 0, parts: { changes: start, members: start, sessions: start } }
}

/**
 * Builds SQL for the new rows of a table (part): rows of transactions at or above `next`, and rows
 * of the recorded open transactions. Both use the index.
 */
function partSql(part: Part, columns: string, condition: string, index: number): string {
  const look = (wasOpen: boolean, which: string): string =>
    `(select '${part}', ${wasOpen}, ${columns}, xid::text::bigint from ${part}
       where ${which} ${condition} order by ${part}.xid fetch first ${sweepPartMax} rows with ties)`
  return `${look(false, `xid >= ${xidParameter(index)}`)} union all ${look(true, `xid = any($${index + 1}::text[]::xid8[])`)}`
}

export async function sweepChanges(database: Database, place: SweepPosition): Promise<Swept> {
  const rows = await database.query<Row>({
    name: 'sweep_changes',
    text: `select 'place' as part, false as was_open, null::uuid as id, null::uuid as user_id,
                  ${positionSql} as seq, ${storedNextSql()} as read_seq, null::bigint as xid
           union all select 'open', false, null, null, null, null, x from (${openTransactionsSql}) o(x)
           union all ${partSql('changes', 'conversation, null::uuid, seq, null::bigint', '', 1)}
           union all ${partSql('members', 'conversation, user_id, left_seq, nullif(read_seq, joined_seq)', '', 3)}
           union all ${partSql('sessions', 'id, user_id, null::bigint, null::bigint', 'and revoked_at is not null', 5)}`,
    values: parts.flatMap((part) => [String(place.parts[part].next), place.parts[part].open.map(String)]),
  })
  const conversations = new Map<Id, number>()
  const members: SweptMember[] = []
  const revokedSessions: Id[] = []
  const looks = { changes: new Look(), members: new Look(), sessions: new Look() }
  const open: number[] = []
  let position = place.position
  let storedNext = position
  let { newest } = place
  for (const row of rows) {
    switch (row.part) {
      case 'place':
        position = row.seq ?? position
        storedNext = row.read_seq ?? storedNext
        continue
      case 'open':
        open.push(row.xid)
        continue
      case 'changes':
        conversations.set(row.id, Math.max(conversations.get(row.id) ?? 0, row.seq ?? 0))
        break
      case 'members':
        if (row.user_id !== null)
          members.push({
            user: row.user_id,
            conversation: row.id,
            leftSeq: row.seq,
            readSeq: row.read_seq,
            xid: row.xid,
          })
        break
      case 'sessions':
        revokedSessions.push(row.id)
        break
    }
    looks[row.part].note(row.was_open, row.xid)
    newest = Math.max(newest, row.xid)
  }
  for (const part of parts) position = Math.min(position, looks[part].cutAfter ?? position)
  // Within an epoch, the position never goes back.
  position = Math.max(place.position, position)
  const placeOf = (part: Part): PartPlace => looks[part].placeAfter(place.parts[part], storedNext, open)
  return {
    place: {
      position,
      newest,
      parts: { changes: placeOf('changes'), members: placeOf('members'), sessions: placeOf('sessions') },
    },
    cut: parts.some((part) => looks[part].cutAfter !== undefined),
    covers: newest < position,
    conversations,
    members,
    revokedSessions,
  }
}

/**
 * Counts the rows of one table (part) that a sweep returned, and computes where the next sweep
 * starts in that table.
 */
class Look {
  readonly #above = { rows: 0, last: 0 }
  readonly #open = { rows: 0, last: 0 }

  note(wasOpen: boolean, xid: number): void {
    const side = wasOpen ? this.#open : this.#above
    side.rows++
    side.last = Math.max(side.last, xid)
  }

  get #isAboveCut(): boolean {
    return this.#above.rows >= sweepPartMax
  }

  get #isOpenCut(): boolean {
    return this.#open.rows >= sweepPartMax
  }

  /** Lowest transaction id that may have unread rows. Undefined when the limit was not reached. */
  get cutAfter(): number | undefined {
    if (this.#isOpenCut) return this.#open.last + 1
    return this.#isAboveCut ? this.#above.last + 1 : undefined
  }

  placeAfter(before: PartPlace, storedNext: number, open: readonly number[]): PartPlace {
    const next = this.#isAboveCut ? this.#above.last + 1 : Math.max(before.next, storedNext)
    const unread = this.#isOpenCut ? before.open.filter((xid) => xid > this.#open.last) : []
    return { next, open: [...new Set([...unread, ...open.filter((xid) => xid < next)])] }
  }
}

/** Returns the position at which a new server starts to sweep. */
export async function readPosition(database: Database): Promise<number> {
  const rows = await database.query<{ position: number }>({ text: `select ${positionSql} as position` })
  return rows[0]?.position ?? 3
}
