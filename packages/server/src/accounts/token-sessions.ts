/**
 * Sessions of user tokens. A session is a user and a device: its row is found by a hash of both, so
 * the cache, the sweep and the revocation of sessions work as for cookies (rule ACL2). It lasts,
 * over new tokens, until it is revoked or unused for thirty days. A session without a device ends
 * with its connection.
 */
import { createHash } from 'node:crypto'
import type { Id, User } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { type SessionRecord, sessionLifetimeDays, type SessionRow, toSession } from './sessions.ts'

const findTimeoutMs = 1_500

/** Returns the hash under which the session of a user and a device is stored. */
export function deviceHash(userId: Id, device: string): Buffer {
  return createHash('sha256').update(`device:${userId}:${device}`).digest()
}

export interface TokenSessionQuery {
  readonly tokenHash: Buffer
  /** `iat` of the token, in seconds. */
  readonly iat: number
}

export interface TokenSession {
  readonly sessionId: Id
  readonly userId: Id
  readonly keyId: string
  /** Time at which its newest token ends. */
  readonly tokenUntilMs: number
  readonly isStale: boolean
  readonly user: User
  readonly record: SessionRecord
}

/**
 * Returns each session if it is live, its API key is in force, and its user accepts tokens of this
 * `iat`.
 */
export async function findTokenSessions(
  database: Database,
  queries: readonly TokenSessionQuery[],
): Promise<(TokenSession | null)[]> {
  const rows = await database.query<TokenSessionRow>({
    name: 'find-token-sessions',
    text: `select t.i::int as i, s.id, s.user_id, s.key_id, s.token_until, s.created_at, s.last_used_at, s.user_agent,
                  u.handle, u.name, u.avatar, u.bot, s.last_used_at < now() - interval '1 minute' as stale
             from unnest($1::bytea[], $2::bigint[]) with ordinality t(token_hash, iat, i)
             join sessions s on s.token_hash = t.token_hash
             join users u on u.id = s.user_id
             join api_keys k on k.id = s.key_id
            where s.revoked_at is null and s.expires_at > now()
              and u.disabled_at is null and u.erasing_since is null and t.iat > u.tokens_after
              and k.revoked_at is null and (k.ends_at is null or k.ends_at > now())`,
    values: [queries.map(({ tokenHash }) => tokenHash), queries.map(({ iat }) => iat)],
    timeoutMs: findTimeoutMs,
  })
  const found = queries.map((): TokenSession | null => null)
  for (const row of rows) found[row.i - 1] = toTokenSession(row)
  return found
}

interface TokenSessionRow extends SessionRow {
  readonly i: number
  readonly key_id: string
  readonly token_until: string
}

function toTokenSession(row: TokenSessionRow): TokenSession {
  return {
    ...toSession(row),
    keyId: row.key_id,
    tokenUntilMs: Date.parse(row.token_until),
  }
}

/** Token under which a session continues. */
export interface TokenSessionTerms {
  readonly keyId: string
  readonly iat: number
  /** End of the token. */
  readonly until: Date
}

export interface TokenSessionStart extends TokenSessionTerms {
  readonly id: Id
  readonly userId: Id
  readonly tokenHash: Buffer
  /** Undefined: the session ends with its connection. */
  readonly device: string | undefined
  readonly userAgent: string | null
}

/**
 * Begins each session, or continues it under its new token. A session that has ended is replaced by
 * a new one, with another id, but only by a token that is newer than its revocation. Returns whether
 * each exists now. Hashes are unique in the list.
 */
export async function beginTokenSessions(database: Database, starts: readonly TokenSessionStart[]): Promise<boolean[]> {
  const begun = await upsert(database, starts)
  const ended = starts.filter(({ tokenHash }) => !begun.has(keyOf(tokenHash)))
  if (ended.length > 0) {
    // Another server may free and begin the same session: then this one continues it.
    await freeEndedSessions(database, ended)
    for (const key of await upsert(database, ended)) begun.add(key)
  }
  return starts.map(({ tokenHash }) => begun.has(keyOf(tokenHash)))
}

const keyOf = (tokenHash: Buffer): string => tokenHash.toString('base64')

async function upsert(database: Database, starts: readonly TokenSessionStart[]): Promise<Set<string>> {
  const rows = await database.query<{ token_hash: Buffer }>({
    name: 'begin-token-sessions',
    text: `insert into sessions (id, token_hash, user_id, user_agent, device, key_id, token_until, expires_at)
           select t.*, case when t.device is null then t.token_until else now() + make_interval(days => $8) end
             from unnest($1::uuid[], $2::bytea[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::timestamptz[])
                    t(id, token_hash, user_id, user_agent, device, key_id, token_until)
            order by t.token_hash
           on conflict (token_hash) do update
              set last_used_at = now(), expires_at = excluded.expires_at, key_id = excluded.key_id,
                  token_until = greatest(sessions.token_until, excluded.token_until),
                  user_agent = coalesce(excluded.user_agent, sessions.user_agent)
            where sessions.revoked_at is null and sessions.expires_at > now()
           returning token_hash`,
    values: [
      starts.map(({ id }) => id),
      starts.map(({ tokenHash }) => tokenHash),
      starts.map(({ userId }) => userId),
      starts.map(({ userAgent }) => userAgent),
      starts.map(({ device }) => device ?? null),
      starts.map(({ keyId }) => keyId),
      starts.map(({ until }) => until.toISOString()),
      sessionLifetimeDays,
    ],
  })
  return new Set(rows.map((row) => keyOf(row.token_hash)))
}

/**
 * Gives ended sessions another hash, so that their user and device may begin a new one. Their rows
 * stay, with id and revocation, for the sweep and the caches of all servers.
 */
async function freeEndedSessions(database: Database, starts: readonly TokenSessionStart[]): Promise<void> {
  await database.query({
    text: `update sessions s set token_hash = sha256(convert_to('ended:' || s.id, 'UTF8'))
             from unnest($1::bytea[], $2::bigint[]) t(token_hash, iat)
            where s.token_hash = t.token_hash
              and ((s.revoked_at is null and s.expires_at <= now()) or t.iat > extract(epoch from s.revoked_at))`,
    values: [starts.map(({ tokenHash }) => tokenHash), starts.map(({ iat }) => iat)],
  })
}

/** Continues a session under another token. Returns its hash, or undefined if it has ended. */
export async function renewTokenSession(
  database: Database,
  sessionId: Id,
  userId: Id,
  { keyId, until }: TokenSessionTerms,
): Promise<Buffer | undefined> {
  const rows = await database.query<{ token_hash: Buffer }>({
    name: 'renew-token-session',
    text: `update sessions
              set last_used_at = now(), key_id = $3, token_until = $4::timestamptz,
                  expires_at = case when device is null then $4::timestamptz else now() + make_interval(days => $5) end
            where id = $1 and user_id = $2 and key_id is not null and revoked_at is null and expires_at > now()
           returning token_hash`,
    values: [sessionId, userId, keyId, until.toISOString(), sessionLifetimeDays],
  })
  return rows[0]?.token_hash
}

/**
 * Ends sessions without a device, whose connections have closed. They expire and are not revoked:
 * nothing else uses them, so no server needs to know.
 */
export async function endLoneSessions(database: Database, sessionIds: readonly Id[]): Promise<void> {
  await database.query({
    text: `update sessions set expires_at = now()
            where id = any ($1::uuid[]) and device is null and key_id is not null and expires_at > now()`,
    values: [sessionIds],
  })
}
