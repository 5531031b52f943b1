/**
 * Stores mail addresses, the mails, and up to which seq each conversation was mailed to each user.
 * Mails are stored as ranges of seqs. The text is read when a mail is sent, by a statement that
 * also checks membership (rule ACL1).
 */
import type { ConversationKind, Id } from '@chorus/protocol'
import { type ConsumerLease, type ConsumerPage, pageArguments } from '../log/consumer-log.ts'
import type { Database } from '../database/database.ts'

/**
 * Limits of a digest: conversations, lines per conversation, characters per line, and messages
 * scanned.
 */
export const digestLimits = { conversationsMax: 500, linesMax: 5, lineMaxChars: 400, scanMax: 2_000 } as const

export interface Notifications {
  readonly email: string | null
  readonly confirmed: boolean
  readonly digest: 'on' | 'off'
}

export async function readNotifications(database: Database, user: Id): Promise<Notifications> {
  const rows = await database.query<Notifications>({
    name: 'read_notifications',
    text: `select email, confirmed_at is not null as confirmed, case when digest then 'on' else 'off' end as digest
             from notification_settings where user_id = $1`,
    values: [user],
  })
  return rows[0] ?? { email: null, confirmed: false, digest: 'off' }
}

export type SetNotifications =
  | { readonly outcome: 'stored'; readonly mail: Id | undefined }
  | { readonly outcome: 'too-soon'; readonly retryAfterMs: number }

/**
 * Stores the mail address and whether the user wants digests. `mail` is the id of the confirmation
 * mail, if one is needed.
 */
export async function setNotifications(
  database: Database,
  user: Id,
  { email, digest, mail }: { email: string | null; digest: boolean; mail: Id },
): Promise<SetNotifications> {
  const rows = await database.query<{ wait_ms: number; mail: Id | null }>({
    name: 'set_notifications',
    text: 'select * from set_notifications($1, $2, $3, $4)',
    values: [user, email, digest, mail],
  })
  const [row] = rows
  if (row === undefined) throw new Error('the database returned no settings')
  return row.wait_ms > 0
    ? { outcome: 'too-soon', retryAfterMs: Math.ceil(row.wait_ms) }
    : { outcome: 'stored', mail: row.mail ?? undefined }
}

/**
 * Confirms the address that the link was sent to. Returns false if the link is unknown, used or
 * expired.
 */
export async function confirmEmail(database: Database, hash: Buffer): Promise<boolean> {
  const rows = await database.query({
    name: 'confirm_email',
    text: `update notification_settings set confirmed_at = clock_timestamp(), confirm_hash = null, confirm_until = null
            where confirm_hash = $1 and confirm_until > clock_timestamp() returning 1`,
    values: [hash],
  })
  return rows.length > 0
}

export async function switchDigestOff(database: Database, user: Id): Promise<void> {
  await database.query({
    name: 'switch_digest_off',
    text: 'update notification_settings set digest = false where user_id = $1',
    values: [user],
  })
}

// SQL statements of the consumer that reads the change log for mails.

export async function hasDigestReaders(database: Database): Promise<boolean> {
  const rows = await database.query({
    name: 'has_digest_readers',
    text: 'select from notification_settings where digest and confirmed_at is not null limit 1',
  })
  return rows.length > 0
}

/**
 * Records the users who may have unread messages in this page of the log, with the range of seqs to
 * check.
 */
export async function storeMailPage(
  database: Database,
  lease: ConsumerLease,
  page: ConsumerPage,
  delayMs: number,
): Promise<'stored' | 'lost'> {
  const rows = await database.query<{ stored: boolean }>({
    name: 'advance_mail',
    text: 'select advance_mail($1, $2, $3::uuid[], $4::bigint[], $5::bigint[], $6) as stored',
    values: [...pageArguments(lease, page), delayMs],
  })
  return rows[0]?.stored === true ? 'stored' : 'lost'
}

// SQL statements of the mail worker.

interface DueLimits {
  readonly graceMs: number
  readonly againMs: number
  readonly max: number
}

/** Returns users whose digest is due, except users that were queued less than `againMs` ago. */
export async function takeDuePeople(database: Database, { againMs, max }: DueLimits): Promise<readonly Id[]> {
  const rows = await database.query<{ user_id: Id }>({
    name: 'take_due_people',
    text: `update mail_due set queued_at = clock_timestamp() where user_id in (
             select user_id from mail_due
              where due_at <= statement_timestamp()
                and (queued_at is null or queued_at < statement_timestamp() - $1 * interval '1 millisecond')
              order by due_at limit $2 for update skip locked)
           returning user_id`,
    values: [againMs, max],
  })
  return rows.map(({ user_id }) => user_id)
}

export async function takeReadyMails(database: Database, { graceMs, againMs, max }: DueLimits): Promise<readonly Id[]> {
  const rows = await database.query<{ id: Id }>({
    name: 'take_ready_mails',
    text: `update mails set queued_at = clock_timestamp() where id in (
             select id from mails
              where state = 'ready' and due_at <= statement_timestamp() - $1 * interval '1 millisecond'
                and (queued_at is null or queued_at < statement_timestamp() - $2 * interval '1 millisecond')
              order by due_at limit $3 for update skip locked)
           returning id`,
    values: [graceMs, againMs, max],
  })
  return rows.map(({ id }) => id)
}

/**
 * Marks mails as `unknown` when their server died while sending them. The mail server may have
 * accepted them, so they are not sent again.
 */
export async function giveUpLostMails(database: Database): Promise<number> {
  const rows = await database.query({
    name: 'give_up_lost_mails',
    text: `update mails set state = 'unknown', ended_at = clock_timestamp(), last_error = 'the server that sent it is gone'
            where state = 'sending' and claimed_until < statement_timestamp() returning 1`,
  })
  return rows.length
}

/**
 * Creates a digest mail with the id `mail`, if one is due for the user. Returns that id, or
 * undefined if none is due.
 */
export async function claimDigest(
  database: Database,
  user: Id,
  { mail, isConnected, delayMs, gapMs }: { mail: Id; isConnected: boolean; delayMs: number; gapMs: number },
): Promise<Id | undefined> {
  const rows = await database.query<{ mail: Id | null }>({
    name: 'claim_digest',
    text: 'select claim_digest($1, $2, $3, $4, $5) as mail',
    values: [user, mail, isConnected, delayMs, gapMs],
  })
  return rows[0]?.mail ?? undefined
}

export interface BegunMail {
  readonly id: Id
  readonly user: Id
  readonly kind: 'digest' | 'confirmation'
  readonly address: string
  readonly attempts: number
  readonly ageMs: number
}

/**
 * Claims a mail for sending, so that it is sent once. Returns undefined if another worker has
 * claimed it or it is not due.
 */
export async function beginMail(
  database: Database,
  id: Id,
  claim: Id,
  leaseMs: number,
): Promise<BegunMail | undefined> {
  const rows = await database.query<BegunMail>({
    name: 'begin_mail',
    text: `update mails set state = 'sending', claim = $2, attempts = attempts + 1,
                  claimed_until = clock_timestamp() + $3 * interval '1 millisecond'
            where id = $1 and ((state = 'ready' and due_at <= clock_timestamp()) or (state = 'sending' and claim = $2))
           returning id, user_id as "user", kind, address, attempts,
                     extract(epoch from clock_timestamp() - created_at)::float8 * 1000 as "ageMs"`,
    values: [id, claim, leaseMs],
  })
  return rows[0]
}

export interface MailEnd {
  readonly state: 'ready' | 'sent' | 'refused' | 'void' | 'unknown'
  readonly error: string | null
  /** Delay before the next attempt. Used only with the state `ready`. */
  readonly delayMs: number
}

export async function settleMail(
  database: Database,
  id: Id,
  claim: Id,
  { state, error, delayMs }: MailEnd,
): Promise<void> {
  await database.query({
    name: 'settle_mail',
    text: `update mails set state = $3, last_error = $4, claim = null, claimed_until = null, queued_at = null,
                  due_at = clock_timestamp() + $5 * interval '1 millisecond',
                  ended_at = case when $3 <> 'ready' then clock_timestamp() end
            where id = $1 and state = 'sending' and claim = $2`,
    values: [id, claim, state, error, delayMs],
  })
}

/**
 * Stores a new confirmation link. Returns false if the user's address has changed since, or is
 * already confirmed.
 */
export async function startConfirmation(
  database: Database,
  { user, address, hash, validMs }: { user: Id; address: string; hash: Buffer; validMs: number },
): Promise<boolean> {
  const rows = await database.query({
    name: 'start_confirmation',
    text: `update notification_settings set confirm_hash = $3, confirm_until = clock_timestamp() + $4 * interval '1 millisecond'
            where user_id = $1 and email = $2 and confirmed_at is null returning 1`,
    values: [user, address, hash, validMs],
  })
  return rows.length > 0
}

export interface DigestLine {
  readonly sender: string
  readonly text: string
  readonly at: string
}

export interface DigestPart {
  readonly conversation: Id
  readonly kind: ConversationKind
  /** Name of the conversation. For a direct conversation, the name of the other user. */
  readonly name: string
  /** Number of unread messages, counted among the newest 2 000. */
  readonly unread: number
  /** The newest few unread messages, in seq order. */
  readonly lines: readonly DigestLine[]
}

/**
 * Returns the content of a digest: unread messages within the mail's ranges, by other users, not
 * deleted. The current memberships and read markers decide, not those at the creation of the mail.
 * Returns an empty list if the user has switched digests off or changed the address.
 */
export async function readDigest(database: Database, mail: Id): Promise<readonly DigestPart[]> {
  const rows = await database.query<Omit<DigestPart, 'lines'> & { readonly lines: readonly DigestLine[] }>({
    name: 'read_digest',
    text: `select v.id as conversation, v.kind, found.unread, found.lines, coalesce(v.name, (
                    select u.name from members o join users u on u.id = o.user_id
                     where v.kind = 'direct' and o.conversation = v.id and o.user_id <> x.user_id limit 1), '') as name
             from mails x
             join notification_settings n on n.user_id = x.user_id and n.email = x.address and n.digest and n.confirmed_at is not null
             join lateral (select q.conversation, q.from_seq, q.to_seq from mail_parts q
                            where q.mail = x.id order by q.conversation limit ${digestLimits.conversationsMax}) p on true
             join members m on m.conversation = p.conversation and m.user_id = x.user_id and m.left_seq is null
             join conversations v on v.id = p.conversation
             cross join lateral (
               select count(*)::int as unread, max(u.seq) as newest,
                      json_agg(json_build_object('sender', s.name, 'at', u.at, 'text', left(coalesce(nullif(u.text, ''), u.card ->> 'title', ''), ${digestLimits.lineMaxChars}))
                               order by u.seq) filter (where u.n <= ${digestLimits.linesMax}) as lines
                 from (
                   select c.*, row_number() over (order by c.seq desc) as n from (
                     select a.seq, a.at, a.actor, a.text, a.card, a.deleted_at from changes a
                      where a.conversation = p.conversation and a.type = 'message.created'
                        and a.seq > greatest(p.from_seq, m.read_seq, m.joined_seq) and a.seq <= p.to_seq
                      order by a.seq desc limit ${digestLimits.scanMax}) c
                    where c.actor <> x.user_id and c.deleted_at is null) u
                 join users s on s.id = u.actor) found
            where x.id = $1 and found.unread > 0
            order by found.unread desc, v.id`,
    values: [mail],
  })
  return rows
}

export interface MailCounts {
  readonly ready: number
  readonly oldestMs: number
}

/** Counts mails that are ready to send, up to 10 000. */
export async function countMails(database: Database): Promise<MailCounts> {
  const rows = await database.query<MailCounts>({
    name: 'count_mails',
    text: `select count(*)::int as ready, coalesce(greatest(0, extract(epoch from clock_timestamp() - min(due_at))::float8 * 1000), 0) as "oldestMs"
             from (select due_at from mails where state = 'ready' order by due_at limit 10000) waiting`,
  })
  return rows[0] ?? { ready: 0, oldestMs: 0 }
}

/**
 * Deletes mails that ended more than a week ago. Until then, operators can look up their outcome.
 */
export async function tidyMails(database: Database): Promise<void> {
  await database.query({
    name: 'tidy_mails',
    text: `delete from mails where id in (
             select id from mails where ended_at < statement_timestamp() - interval '7 days' limit 10000)`,
  })
}
