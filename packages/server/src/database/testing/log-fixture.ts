/** Creates users, conversations and log entries in a test database, under the real access rules. */
import { randomUUID } from 'node:crypto'
import type { Id, Json } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import type { Appended, OperationOutcome, SendOutcome } from '../../log/append-outcome.ts'
import { ChangeLog } from '../../log/change-log.ts'
import type { LogOperation } from '../../log/operations.ts'
import type { Database } from '../database.ts'
import type { DatabaseError } from '../database-errors.ts'

export interface LogObservations {
  readonly batches: number[]
  readonly failures: DatabaseError[]
}

/**
 * Opens a log for tests. By default its clock does not advance, so no time limit passes, however
 * busy the machine is.
 */
export function openLog(
  database: Database,
  observed: LogObservations = { batches: [], failures: [] },
  nowMs: () => number = () => 0,
): ChangeLog {
  return new ChangeLog(
    database,
    {
      batchCommitted: (rows) => void observed.batches.push(rows),
      batchFailed: (error) => void observed.failures.push(error),
    },
    nowMs,
  )
}

export class LogFixture {
  readonly database: Database
  readonly log: ChangeLog

  constructor(database: Database, log: ChangeLog = openLog(database)) {
    this.database = database
    this.log = log
  }

  /**
   * Runs one statement and returns its rows unchanged. The time limit is a minute, because some
   * fixtures insert many rows.
   */
  sql<Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.database.query<Row>({ text, values, timeoutMs: 60_000 })
  }

  async user(name = 'somebody'): Promise<Id> {
    const [user] = await this.users(1, name)
    return user as Id
  }

  async users(count: number, name = 'somebody'): Promise<Id[]> {
    const ids = Array.from({ length: count }, () => uuidv7())
    await this.sql(
      `insert into users (id, handle, name, password_hash)
       select id, substr(replace(id::text, '-', ''), 1, 32), $2, '' from unnest($1::uuid[]) id`,
      [ids, name],
    )
    return ids
  }

  async session(user: Id): Promise<Id> {
    const id = uuidv7()
    await this.sql(
      `insert into sessions (id, user_id, token_hash, expires_at) values ($1, $2, $3, now() + interval '1 day')`,
      [id, user, Buffer.from(id)],
    )
    return id
  }

  async group(members: readonly Id[], kind: 'group' | 'channel' | 'direct' = 'group'): Promise<Id> {
    const conversation = uuidv7()
    const { outcome } = await this.log.apply({
      op: 'create',
      conversation,
      actor: members[0] as Id,
      kind,
      name: kind === 'direct' ? null : 'a place',
      directKey: kind === 'direct' ? [...members].sort().join(':') : null,
      members,
    })
    if (outcome !== 'stored') throw new Error(`unable to create the conversation; ${outcome}`)
    return conversation
  }

  send(
    conversation: Id,
    actor: Id,
    text = 'hello',
    options: { clientId?: Id; replyTo?: number | null; data?: Json; log?: ChangeLog } = {},
  ): Promise<Appended<SendOutcome>> {
    const { clientId = randomUUID(), replyTo = null, data = null, log = this.log } = options
    return log.append({ conversation, actor, clientId, text, replyTo, data })
  }

  apply(operation: LogOperation): Promise<Appended<OperationOutcome>> {
    return this.log.apply(operation)
  }

  /** Inserts many messages in one transaction, without going through the log. */
  async fill(conversation: Id, actor: Id, count: number, text = 'filled'): Promise<void> {
    await this.sql(
      `with top as (
         update conversations set seq = seq + $3, last_message_seq = seq + $3, last_xid = pg_current_xact_id()
          where id = $1 returning seq - $3 as base)
       insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text)
       select $1, top.base + n, clock_timestamp(), 'message.created', $2, gen_random_uuid(), '', top.base + n, $4
         from top, generate_series(1, $3::int) n`,
      [conversation, actor, count, text],
    )
  }

  /** Appends a row to a log as a server of a later version might write it. */
  async appendOther(
    conversation: Id,
    actor: Id,
    { type, target = null }: { readonly type: string; readonly target?: number | null },
  ): Promise<{ readonly seq: number; readonly at: string }> {
    const [row] = await this.sql<{ seq: number; at: string }>(
      `with top as (
         update conversations set seq = seq + 1, last_xid = pg_current_xact_id() where id = $1 returning seq)
       insert into changes (conversation, seq, at, type, actor, target)
       select $1, top.seq, clock_timestamp(), $3, $2, $4 from top returning seq, at`,
      [conversation, actor, type, target],
    )
    if (row === undefined) throw new Error('there is no such conversation')
    return { seq: row.seq, at: new Date(row.at).toISOString() }
  }

  /** Returns every seq of the conversation's log, in order. */
  async seqs(conversation: Id): Promise<number[]> {
    const rows = await this.sql<{ seq: number }>('select seq from changes where conversation = $1 order by seq', [
      conversation,
    ])
    return rows.map(({ seq }) => seq)
  }
}
