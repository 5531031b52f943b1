-- The first schema. Runs unchanged on Postgres 15 and later and on the embedded engine.
--
-- Swept tables (changes, members, sessions) carry the id of the transaction that last wrote each row, with an index:
-- the horizonless cursor, the sweep and the consumers of the log all read "what has xid >= position" (docs/spec.md, RES2).

create table settings (
  key text primary key,
  value text not null
);

create table users (
  id uuid primary key,
  handle text not null,
  name text not null,
  avatar text,
  password_hash text not null,
  created_at timestamptz not null default now(),
  disabled_at timestamptz,
  last_seen_at timestamptz
);
create unique index users_handle on users (lower(handle));
create index users_handle_prefix on users (lower(handle) text_pattern_ops);
create index users_name_prefix on users (lower(name) text_pattern_ops);

create table sessions (
  id uuid primary key,
  token_hash bytea not null unique,
  user_id uuid not null references users (id),
  created_at timestamptz not null default now(),
  last_used_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  user_agent text,
  data jsonb not null default '{}',
  xid xid8 not null default pg_current_xact_id()
);
create index sessions_user on sessions (user_id);
create index sessions_xid on sessions (xid);

create table conversations (
  id uuid primary key,
  kind text not null check (kind in ('direct', 'group', 'channel')),
  name text,
  -- The two user ids of a direct conversation, in order: there is one per pair.
  direct_key text unique,
  -- The counter: seq of the newest change.
  seq bigint not null default 0,
  last_xid xid8 not null default pg_current_xact_id(),
  -- Time of the newest change; times never run backwards against seq.
  last_at timestamptz not null default clock_timestamp(),
  last_message_seq bigint not null default 0,
  -- Seq of the newest change of members, the version of every cached membership.
  member_version bigint not null default 0,
  member_count integer not null default 0
) with (fillfactor = 70);
create index conversations_channel_name on conversations (lower(name)) where kind = 'channel';

create table members (
  conversation uuid not null references conversations (id),
  user_id uuid not null references users (id),
  role text not null check (role in ('owner', 'moderator', 'member')),
  joined_seq bigint not null,
  -- Null while a member; the row stays after the removal, so that a catch-up can say so.
  left_seq bigint,
  read_seq bigint not null default 0,
  xid xid8 not null default pg_current_xact_id(),
  primary key (conversation, user_id)
) with (fillfactor = 80);
create index members_user on members (user_id, conversation);
create index members_xid on members (xid);
create index members_joined on members (conversation, joined_seq);

-- The log. The row of a created message is the message: an edit or deletion replaces its text in place and appends a
-- change that points at it (target), so that erasing really erases.
create table changes (
  conversation uuid not null,
  seq bigint not null,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null,
  type text not null,
  actor uuid not null,
  -- Of a created message.
  client_id uuid,
  request_hash bytea,
  version bigint,
  text text,
  data json,
  attachments uuid[],
  reply_to bigint,
  edited_at timestamptz,
  deleted_at timestamptz,
  -- Of the other types: the message, the member, the emoji, the name.
  target bigint,
  user_id uuid,
  role text,
  emoji text,
  name text,
  primary key (conversation, seq)
) with (fillfactor = 95);
create unique index changes_client_id on changes (actor, conversation, client_id) where client_id is not null;
create index changes_xid on changes (xid);
-- Pages of history and the count of unread step over whatever is no message.
create index changes_messages on changes (conversation, seq) where type = 'message.created';

create table reactions (
  conversation uuid not null,
  target bigint not null,
  user_id uuid not null,
  emoji text not null,
  -- Seq of the newest change to this reaction.
  seq bigint not null,
  removed boolean not null default false,
  primary key (conversation, target, user_id, emoji)
);
-- Which emoji a message has, without looking at everybody who chose them.
create index reactions_emoji on reactions (conversation, target, emoji) where not removed;
