/**
 * One look at everything that was written since the last: the safety net under every hint (rule TAIL1).
 *
 * A place says what was looked at: in each part every transaction below `next`, but for those that were open then; what
 * they commit is asked for by their ids. So a transaction that stays open for long holds the position of all cursors where
 * it is, but hides nothing that is newer, and nothing is read again and again because of it.
 *
 * Each part is ordered by transaction id and bounded; where the bound cuts a part, the next sweep follows at once and goes
 * on behind the last id that came, and the position stays at or below that. Taking simply the last id as position would
 * jump over a writer that is still open. `with ties` keeps a transaction's rows together, so that the id after it is free
 * to follow, however many rows it wrote. Numbers of transactions that left no row do not survive a crash of Postgres and
 * are handed out again, so `next` never goes beyond what is stored (see position.ts).
 */
import type { Id } from '@chorus/protocol'
import type { Database } from './database.ts'
import { openTransactionsSql, positionSql, storedNextSql, xidParameter } from './position.ts'

export const sweepPartMax = 5_000

export interface SweptMember {
  readonly user: Id
  readonly conversation: Id
  readonly leftSeq: number | null
  /** Null while the marker stands where the membership began. */
  readonly readSeq: number | null
  /** The transaction that wrote it. */
  readonly xid: number
}

const parts = ['changes', 'members', 'sessions'] as const

type Part = (typeof parts)[number]

interface PartPlace {
  /** Every transaction below it was looked at… */
  readonly next: number
  /** …but for these, which were open. At most as many as Postgres has connections and prepared transactions. */
  readonly open: readonly number[]
}

/** How far a server has swept. */
export interface SweepPlace {
  /** Everything below it was looked at, and nothing is written there any more: a cursor may say so. */
  readonly position: number
  /** The newest transaction of which anything was seen. */
  readonly newest: number
  readonly parts: Readonly<Record<Part, PartPlace>>
}

export interface Swept {
  /** Where the next sweep begins. */
  readonly place: SweepPlace
  /** A bound cut a part: sweep again at once. */
  readonly cut: boolean
  /** Is everything ever seen below the position? A long transaction elsewhere holds it down. */
  readonly covers: boolean
  /** Conversations that changed, with the newest seq seen. */
  readonly conversations: ReadonlyMap<Id, number>
  /** Memberships or read markers that changed. */
  readonly members: readonly SweptMember[]
  readonly revokedSessions: readonly Id[]
}

interface Row {
  readonly part: Part | 'place' | 'open'
  /** Of a transaction that was open at the look before. */
  readonly was_open: boolean
  readonly id: Id
  readonly user_id: Id | null
  readonly seq: number | null
  readonly read_seq: number | null
  readonly xid: number
}

/** A sweep that begins at a position, having looked at nothing behind it. */
export function placeAt(position: number): SweepPlace {
  const start: PartPlace = { next: position, open: [] }
  return { position, newest: 0, parts: { changes: start, members: start, sessions: start } }
}

/** What a part has that is new: of transactions above the ones looked at, and of those that were open. Each way by the index. */
function partSql(part: Part, columns: string, condition: string, index: number): string {
  const look = (wasOpen: boolean, which: string): string =>
    `(select '${part}', ${wasOpen}, ${columns}, xid::text::bigint from ${part}
       where ${which} ${condition} order by ${part}.xid fetch first ${sweepPartMax} rows with ties)`
  return `${look(false, `xid >= ${xidParameter(index)}`)} union all ${look(true, `xid = any($${index + 1}::text[]::xid8[])`)}`
}

export async function sweepChanges(database: Database, place: SweepPlace): Promise<Swept> {
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
  // Within an epoch a position never goes back.
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

/** What one statement has brought of a part, and where that leaves it. */
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

  /** Nothing from this id on is known to have come; undefined: everything has. */
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

/** Where a server begins to sweep. */
export async function readPosition(database: Database): Promise<number> {
  const rows = await database.query<{ position: number }>({ text: `select ${positionSql} as position` })
  return rows[0]?.position ?? 3
}
