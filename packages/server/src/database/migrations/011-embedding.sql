-- Embedding: API keys, users and sessions of user tokens, subjects of conversations, cards. Only
-- adds tables and columns, so servers of the version before work on the same database.

-- API keys of integrators. Of the secret, only the SHA-256 is stored. The signing secret must be
-- readable, because it verifies user tokens (HS256). The previous secrets are valid until the
-- rotation ends.
create table api_keys (
  id text primary key,
  name text not null,
  scopes text[] not null,
  secret_hash bytea not null unique,
  previous_secret_hash bytea unique,
  signing_secret text not null,
  previous_signing_secret text,
  bot_user uuid not null references users (id),
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  ends_at timestamptz,
  revoked_at timestamptz
);

-- Public keys that verify user tokens. A kid that two keys have is unusable.
create table api_public_keys (
  kid text not null,
  key_id text not null references api_keys (id),
  jwk jsonb not null,
  created_at timestamptz not null default now(),
  primary key (kid, key_id)
);

create table api_key_sets (
  key_id text primary key references api_keys (id),
  url text not null
);

-- Results of calls with an Idempotency-Key, kept for 24 hours. Status 0: the call still runs.
create table idempotency_keys (
  key_id text not null,
  method text not null,
  path text not null,
  as_user text not null,
  key text not null,
  body_hash bytea not null,
  status integer not null,
  body text,
  created_at timestamptz not null default now(),
  primary key (key_id, key, method, path, as_user)
);
create index idempotency_keys_created on idempotency_keys (created_at);

-- The external id is the id in the integrator's system, compared byte for byte.
alter table users
  add column external_id text collate "C",
  add column bot boolean not null default false,
  -- Tokens with an iat, in seconds, of at most this number are refused.
  add column tokens_after bigint not null default 0,
  -- Highest iat of the accepted tokens.
  add column newest_token bigint not null default 0,
  -- A user who is being erased keeps the external id. At the end of the erasure, the id is free.
  add column erasing_since timestamptz,
  add column erased_at timestamptz;
create unique index users_external_id on users (external_id) where external_id is not null;
create index users_external on users (id) where external_id is not null;
create index users_erasing on users (erasing_since) where erasing_since is not null;

-- External ids of erased users. Tokens issued before the erasure stay refused. Rows are deleted when
-- these tokens have expired.
create table erased_external_ids (
  external_id text collate "C" primary key,
  tokens_after bigint not null
);
create index erased_external_ids_tokens on erased_external_ids (tokens_after);

-- The lease of the server that erases users.
insert into consumers (name) values ('erasure');

-- Reactions and mails of a user. The messages of a user are found by changes_client_id. Reactions
-- wait while their index is built: about a second for a million rows.
create index reactions_user on reactions (user_id);
create index mails_user on mails (user_id);

-- A session of user tokens belongs to a user and a device. token_until: end of the newest token.
alter table sessions
  add column device uuid,
  add column key_id text,
  add column token_until timestamptz;
-- A session without a device is one row for each connection, which stays for days after its end.
-- So reads of the live sessions of a key or a user begin after the ended ones.
create index sessions_key on sessions (key_id, expires_at) where key_id is not null and revoked_at is null;
create index sessions_user_ends on sessions (user_id, expires_at, id);
drop index sessions_user;

alter table conversations
  add column subject_type text collate "C",
  add column subject_id text collate "C",
  add column subject_title text,
  add column subject_url text,
  add column subject_data json;
create unique index conversations_subject on conversations (subject_type, subject_id) where subject_type is not null;

-- card: current version of the card of a created message, with the first act on it. action: the
-- action of a change card.acted.
alter table changes
  add column card json,
  add column action text;

-- Ed25519 keys that sign cards. One is in use; retired keys verify older cards.
create table signing_keys (
  kid text primary key,
  private_jwk jsonb not null,
  public_jwk jsonb not null,
  created_at timestamptz not null default now(),
  retired_at timestamptz
);
-- Servers that start together make one key.
create unique index signing_keys_in_use on signing_keys ((retired_at is null)) where retired_at is null;
