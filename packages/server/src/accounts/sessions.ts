/**
 * Stores sessions (signed-in devices). The table contains only a SHA-256 of the cookie's token, so
 * a copy of the table cannot be used to sign in.
 *
 * Each check asks the database whether a session is live (rule ACL2): not revoked, not expired by
 * the database's clock, user not disabled. Revoking a session updates its `xid` column, so the
 * sweep finds the revocation. Using a session leaves `xid` unchanged.
 */
import type { Id, Json, User } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

/** Days from sign-in until a session expires, however often it is used. */
export const sessionLifetimeDays = 30

/** Time limit of a session look-up. Every request waits for its session before anything else. */
const findTimeoutMs = 1_500

/** Maximum number of sessions in a list. */
const listMax = 200

const live = 'revoked_at is null and expires_at > now()'

export interface NewSession {
  readonly id: Id
  readonly userId: Id
  readonly tokenHash: Buffer
  readonly userAgent: string | null
}

/** Stores a new session. A repeated call with the same id stores nothing. */
export async function insertSession(
  database: Database,
  { id, userId, tokenHash, userAgent }: NewSession,
): Promise<void> {
  await database.query({
    text: `insert into sessions (id, user_id, token_hash, user_agent, expires_at)
           values ($1, $2, $3, $4, now() + make_interval(days => $5))
           on conflict (id) do nothing`,
    values: [id, userId, tokenHash, userAgent, sessionLifetimeDays],
  })
}

export interface SessionIdentity {
  readonly sessionId: Id
  readonly userId: Id
  readonly tokenHash: Buffer
  readonly expiresAt: string
  /** Remaining lifetime of the session, by the database's clock. */
  readonly expiresInMs: number
  /** True when the stored time of last use is old enough to be written again. */
  readonly isStale: boolean
  readonly user: User
  readonly record: SessionRecord
}

/** Columns of a session and of its user, as the statements that find sessions select them. */
export interface SessionRow {
  readonly id: Id
  readonly user_id: Id
  readonly stale: boolean
  readonly created_at: string
  readonly last_used_at: string
  readonly user_agent: string | null
  readonly handle: string
  readonly name: string
  readonly avatar: string | null
  readonly bot: boolean
}

/** Returns what every found session has, whether it began by a cookie or by a user token. */
export function toSession(
  row: SessionRow,
): Pick<SessionIdentity, 'sessionId' | 'userId' | 'isStale' | 'user' | 'record'> {
  return {
    sessionId: row.id,
    userId: row.user_id,
    isStale: row.stale,
    user: { id: row.user_id, handle: row.handle, name: row.name, avatar: row.avatar, bot: row.bot },
    record: { id: row.id, createdAt: row.created_at, lastUsedAt: row.last_used_at, userAgent: row.user_agent },
  }
}

interface IdentityRow extends SessionRow {
  readonly token_hash: Buffer
  readonly expires_at: string
  readonly expires_in_ms: number
}

/** Returns the live sessions among these tokens, in one statement for any number of callers. */
export async function findSessions(database: Database, tokenHashes: readonly Buffer[]): Promise<SessionIdentity[]> {
  const rows = await database.query<IdentityRow>({
    name: 'find-sessions',
    text: `select s.id, s.user_id, s.token_hash, s.expires_at, s.created_at, s.last_used_at, s.user_agent,
                  u.handle, u.name, u.avatar, u.bot,
                  (extract(epoch from s.expires_at - now()) * 1000)::float8 as expires_in_ms,
                  s.last_used_at < now() - interval '1 minute' as stale
             from sessions s join users u on u.id = s.user_id
            where s.token_hash = any ($1::bytea[]) and s.revoked_at is null and s.expires_at > now() and u.disabled_at is null`,
    values: [tokenHashes],
    timeoutMs: findTimeoutMs,
  })
  return rows.map((row) => ({
    ...toSession(row),
    tokenHash: row.token_hash,
    expiresAt: row.expires_at,
    expiresInMs: row.expires_in_ms,
  }))
}

/**
 * Updates the time of last use of these sessions. Leaves `xid` unchanged, so that no sweep reports
 * the sessions to other servers. A session of a user token and a device expires when it is unused.
 */
export async function touchSessions(database: Database, sessionIds: readonly Id[]): Promise<void> {
  await database.query({
    text: `update sessions
              set last_used_at = greatest(last_used_at, now()),
                  expires_at = case when device is null then expires_at else now() + make_interval(days => $2) end
            where id = any ($1::uuid[]) and revoked_at is null and expires_at > now()`,
    values: [sessionIds, sessionLifetimeDays],
  })
}

/** Session as its owner sees it in the list of signed-in devices. */
export interface SessionRecord {
  readonly id: Id
  readonly createdAt: string
  readonly lastUsedAt: string
  readonly userAgent: string | null
}

const record = `id, created_at as "createdAt", last_used_at as "lastUsedAt", user_agent as "userAgent"`

export async function readSession(database: Database, sessionId: Id): Promise<SessionRecord | undefined> {
  const rows = await database.query<SessionRecord>({
    text: `select ${record} from sessions where id = $1 and ${live}`,
    values: [sessionId],
  })
  return rows[0]
}

/** Returns the user's live sessions, newest first. */
export async function listSessions(database: Database, userId: Id): Promise<SessionRecord[]> {
  return database.query<SessionRecord>({
    pool: 'browse',
    text: `select ${record} from sessions where user_id = $1 and ${live} order by created_at desc, id desc limit ${listMax}`,
    values: [userId],
  })
}

const revocation = `
  update sessions
     set revoked_at = coalesce(revoked_at, now()), xid = case when revoked_at is null then pg_current_xact_id() else xid end`

/**
 * Revokes a session. Returns false if the user has no such session, and true if the session is
 * revoked now or was revoked before.
 */
export async function revokeSession(database: Database, userId: Id, sessionId: Id): Promise<boolean> {
  const rows = await database.query({
    text: `${revocation} where id = $1 and user_id = $2 returning id`,
    values: [sessionId, userId],
  })
  return rows.length > 0
}

/** Revokes the session with this token and returns its id, if there is one. */
export async function revokeSessionByToken(database: Database, tokenHash: Buffer): Promise<Id | undefined> {
  const rows = await database.query<{ id: Id }>({
    text: `${revocation} where token_hash = $1 returning id`,
    values: [tokenHash],
  })
  return rows[0]?.id
}

type SessionData = { readonly [key: string]: Json }

/** Returns the session's data. Returns undefined if the session is no longer live. */
export async function readSessionData(database: Database, sessionId: Id): Promise<SessionData | undefined> {
  const rows = await database.query<{ data: SessionData }>({
    text: `select data from sessions where id = $1 and ${live}`,
    values: [sessionId],
  })
  return rows[0]?.data
}

/** Builds SQL for the size of a jsonb as compact JSON, without the spaces that Postgres adds. */
function compactBytes(jsonb: string): string {
  const outsideStrings = `regexp_replace((${jsonb})::text, '"(\\\\.|[^"\\\\])*"', '', 'g')`
  return `(octet_length((${jsonb})::text) - (length(${outsideStrings}) - length(replace(${outsideStrings}, ' ', ''))))`
}

/**
 * Merges top-level keys into the session's data in one statement, so that concurrent requests on
 * several servers lose nothing. Returns `too-large` if the result would exceed `maxBytes`; then
 * nothing is stored.
 */
export async function mergeSessionData(
  database: Database,
  sessionId: Id,
  patch: SessionData,
  maxBytes: number,
): Promise<SessionData | 'too-large' | undefined> {
  const fits = `${compactBytes('data || $2::jsonb')} <= $3::integer`
  // `fits` is computed on the updated row. Merging the same patch twice changes nothing, so `fits`
  // is true exactly when the patch was merged.
  const rows = await database.query<{ data: SessionData; fits: boolean }>({
    text: `update sessions set data = case when ${fits} then data || $2::jsonb else data end
            where id = $1 and ${live} returning data, ${fits} as fits`,
    values: [sessionId, JSON.stringify(patch), maxBytes],
  })
  const [row] = rows
  if (row === undefined) return undefined
  return row.fits ? row.data : 'too-large'
}

/** Returns sessions revoked within the last `withinMs`, newest first, at most `limit`. */
export async function readRecentRevocations(database: Database, withinMs: number, limit: number): Promise<Id[]> {
  const rows = await database.query<{ id: Id }>({
    text: `select id from sessions
            where revoked_at is not null and revoked_at > now() - make_interval(secs => $1::float8 / 1000)
            order by revoked_at desc limit $2`,
    values: [withinMs, limit],
  })
  return rows.map(({ id }) => id)
}

/**
 * Key of the advisory lock that lets one server at a time delete old sessions. Its value only has
 * to differ from the keys of all other locks.
 */
const deleteLockKey = 5_091_623

/**
 * Deletes at most `limit` sessions that ended more than `overDays` ago, and returns their number.
 * Deletes nothing while another server does. No sweep and no cache still looks up sessions that
 * old.
 */
export async function deleteOldSessions(database: Database, overDays: number, limit: number): Promise<number> {
  const rows = await database.query<{ id: Id }>({
    text: `with mine as materialized (select pg_try_advisory_xact_lock(${deleteLockKey}) as is_mine),
           old as materialized (
             select o.id from mine cross join lateral (
               (select id from sessions where expires_at < now() - make_interval(days => $1)
                 order by expires_at limit $2)
               union
               (select id from sessions where revoked_at < now() - make_interval(days => $1)
                 order by revoked_at limit $2)
               limit $2) o
              where mine.is_mine)
           delete from sessions where id in (select id from old) returning id`,
    values: [overDays, limit],
  })
  return rows.length
}
