/**
 * Reads the final state of a chaos run from the database: every row of the log, every counter and
 * every membership.
 */
import { waitForFact } from '@chorus/testkit'
import { hashText, kindOf, nowMicros } from '../history/index.ts'
import type { HistoryWriter } from '../history/index.ts'
import type { Top } from '../workload/job.ts'
import type { Lab } from '../faults/lab.ts'

const rowsPerPage = 20_000
const topsTimeoutMs = 30_000

interface Row extends Record<string, unknown> {
  readonly conversation: string
  readonly seq: string
  readonly type: string
  readonly actor: string
  readonly client_id: string | null
  readonly version: string | null
  readonly text: string | null
  readonly deleted: boolean
  readonly target: string | null
  readonly user_id: string | null
  readonly emoji: string | null
}

/** Writes every row of the log to the history. Returns the number of rows. */
export async function dumpLog(lab: Lab, writer: HistoryWriter): Promise<number> {
  for (const { conversation, seq, members } of await readTops(lab))
    writer.write({ t: nowMicros(), op: 'conversation', conversation, seq, members })
  let count = 0
  let after = { conversation: '00000000-0000-0000-0000-000000000000', seq: '0' }
  for (;;) {
    const rows = await lab.query<Row>(
      `select conversation, seq::text, type, actor, client_id, version::text, text, deleted_at is not null as deleted,
              target::text, user_id, emoji
         from changes
        where (changes.conversation, changes.seq) > ($1::uuid, $2::bigint)
        order by changes.conversation, changes.seq
        limit ${rowsPerPage}`,
      [after.conversation, after.seq],
    )
    for (const row of rows) writeRow(writer, row)
    count += rows.length
    const last = rows.at(-1)
    if (last === undefined || rows.length < rowsPerPage) return count
    after = last
  }
}

function writeRow(writer: HistoryWriter, row: Row): void {
  const seq = Number(row.seq)
  const kind = kindOf(row.type)
  writer.write({
    t: nowMicros(),
    op: 'row',
    conversation: row.conversation,
    seq,
    kind,
    actor: row.actor,
    clientId: row.client_id ?? '',
    target: row.target === null || kind === 'c' ? seq : Number(row.target),
    version: row.version === null ? seq : Number(row.version),
    hash: hashOf(row),
    member: kind === 'j' || kind === 'l' || kind === 'u' ? (row.user_id ?? '') : '',
  })
}

function hashOf(row: Row): number {
  switch (row.type) {
    case 'message.created':
      return row.deleted ? 0 : hashText(row.text ?? '')
    case 'reaction.added':
    case 'reaction.removed':
      return hashText(row.emoji ?? '')
    case 'member.joined':
    case 'member.left':
    case 'member.updated':
      return hashText(row.user_id ?? '')
    default:
      return 0
  }
}

/** Returns the newest sequence number (seq) and the members of every conversation. */
export async function readTops(lab: Lab): Promise<readonly Top[]> {
  const read = () =>
    lab.query<{ id: string; seq: string; members: string[] | null }>(
      `select c.id, c.seq::text, (select array_agg(m.user_id::text) from members m
                                   where m.conversation = c.id and m.left_seq is null) as members
         from conversations c`,
    )
  // Postgres may still be recovering from the previous fault.
  const rows = await waitForFact(read, { what: 'the newest seqs of all conversations', timeoutMs: topsTimeoutMs })
  return rows.map(({ id, seq, members }) => ({ conversation: id, seq: Number(seq), members: members ?? [] }))
}
