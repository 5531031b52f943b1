-- Consumers of the log and the work they leave behind (rule OFF1). What has to be done stands here; a queue in Redis only
-- says "look", so an emptied Redis loses nothing.
--
-- consumers, consumer_progress    how far each consumer has come, and which server runs it
-- webhook_*                       endpoints, deliveries that are due or dead, lanes (one conversation to one endpoint)
-- notification_settings, mail_*   addresses, what was mailed already, who is to be looked at, mails

-- One row per consumer. The position belongs to one history (stored id and system identifier: a promoted replica has the
-- same, a restored backup another). The token fences: it changes with every change of hands, and a page is stored only by
-- whoever holds the newest. It holds the time, so that a replica which missed the last change of hands gives no token again.
create table consumers (
  name text primary key,
  history text,
  position bigint not null default 3,
  holder uuid,
  token bigint not null default 0,
  lease_until timestamptz
);
-- They begin where the log is now, in whatever history the first server finds; see position.ts.
insert into consumers (name, position)
  select name, least(
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    greatest(3, coalesce((select xid::text::bigint + 1 from changes order by xid desc limit 1), 3)))
  from (values ('webhooks'), ('mail')) n(name);

-- The last seq handled of each conversation that has a handled row with xid >= position; of all others everything
-- handled is below the position. `xid`: the newest of them.
create table consumer_progress (
  consumer text not null references consumers (name),
  conversation uuid not null,
  seq bigint not null,
  xid bigint not null,
  primary key (consumer, conversation)
);
create index consumer_progress_xid on consumer_progress (consumer, xid);

-- Begins at a position, forgetting what was before; null: where it is. False: somebody else has the lease by now.
create function begin_consumer(p_name text, p_token bigint, p_history text, p_position bigint)
returns boolean language plpgsql volatile as $$
begin
  update consumers set history = p_history, position = coalesce(p_position, position) where name = p_name and token = p_token;
  if not found then return false; end if;
  delete from consumer_progress where consumer = p_name and p_position is not null;
  return true;
end $$;

-- Stores that a page (rows as arrays) was handled. False: somebody else has the lease by now, and nothing was stored.
create function advance_consumer(
  p_name text, p_token bigint, p_position bigint, p_conversation uuid[], p_seq bigint[], p_xid bigint[]
) returns boolean language plpgsql volatile as $$
begin
  update consumers set position = greatest(position, p_position) where name = p_name and token = p_token;
  if not found then return false; end if;
  insert into consumer_progress (consumer, conversation, seq, xid)
    select p_name, r.conversation, max(r.seq), max(r.xid)
      from unnest(p_conversation, p_seq, p_xid) r(conversation, seq, xid) group by r.conversation
    on conflict (consumer, conversation) do update
      set seq = greatest(consumer_progress.seq, excluded.seq), xid = greatest(consumer_progress.xid, excluded.xid);
  delete from consumer_progress where consumer = p_name and xid < p_position;
  return true;
end $$;

-- Webhooks.

create table webhook_endpoints (
  id uuid primary key,
  url text not null,
  -- The newest first; the second one signs, too, until the rotation is over.
  secrets text[] not null check (cardinality(secrets) between 1 and 2),
  -- Null: every type.
  types text[],
  enabled boolean not null default true,
  disabled_reason text,
  created_at timestamptz not null default clock_timestamp(),
  -- Since when nothing has been accepted.
  failing_since timestamptz,
  delivered_at timestamptz
);

-- Due, or dead. What was delivered has no row any more.
create table webhook_deliveries (
  endpoint uuid not null references webhook_endpoints (id) on delete cascade,
  conversation uuid not null,
  seq bigint not null,
  event_id text not null,
  attempts integer not null default 0,
  first_attempt_at timestamptz,
  last_status integer,
  last_error text,
  dead_at timestamptz,
  primary key (endpoint, conversation, seq)
);
create index webhook_deliveries_dead on webhook_deliveries (dead_at) where dead_at is not null;

-- What is due of one conversation to one endpoint goes one after the other: the lane is what a worker claims.
create table webhook_lanes (
  endpoint uuid not null references webhook_endpoints (id) on delete cascade,
  conversation uuid not null,
  due_at timestamptz not null default clock_timestamp(),
  claim uuid,
  claimed_until timestamptz,
  -- When it was last put into the queue by the dispatcher.
  queued_at timestamptz,
  primary key (endpoint, conversation)
);
create index webhook_lanes_due on webhook_lanes (due_at);

-- Makes deliveries due. Lanes are locked, so that a worker which finds its lane empty and removes it sees either these
-- rows or the lane's return.
create function queue_deliveries(p_endpoint uuid[], p_conversation uuid[], p_seq bigint[], p_event_id text[])
returns void language plpgsql volatile as $$
begin
  insert into webhook_deliveries (endpoint, conversation, seq, event_id)
    select d.endpoint, d.conversation, d.seq, d.event_id
      from unnest(p_endpoint, p_conversation, p_seq, p_event_id) d(endpoint, conversation, seq, event_id)
      join webhook_endpoints e on e.id = d.endpoint
     order by d.endpoint, d.conversation, d.seq
    on conflict (endpoint, conversation, seq) do update
      set dead_at = null, attempts = 0, first_attempt_at = null, event_id = excluded.event_id
      where webhook_deliveries.dead_at is not null;
  insert into webhook_lanes (endpoint, conversation)
    select distinct d.endpoint, d.conversation from unnest(p_endpoint, p_conversation) d(endpoint, conversation)
      join webhook_endpoints e on e.id = d.endpoint
     order by 1, 2
    on conflict (endpoint, conversation) do update set due_at = webhook_lanes.due_at;
end $$;

-- A page of the log for the webhooks: what each endpoint wants of it becomes due, and the page is handled, or neither.
-- Returns the lanes that have something; a row of nulls alone: the lease is lost.
create function advance_webhooks(
  p_token bigint, p_position bigint, p_conversation uuid[], p_seq bigint[], p_xid bigint[], p_history_tag text
) returns table (endpoint uuid, conversation uuid) language plpgsql volatile as $$
declare
  v_position bigint;
  v_endpoint uuid[];
  v_conversation uuid[];
  v_seq bigint[];
  v_event_id text[];
begin
  select position into v_position from consumers where name = 'webhooks' and token = p_token for update;
  if not found then
    return query select null::uuid, null::uuid;
    return;
  end if;
  -- What was handled by then is left out: a page that is stored again, because its first answer was lost, is not due again.
  select array_agg(e.id), array_agg(c.conversation), array_agg(c.seq),
         array_agg(p_history_tag || '.' || c.conversation || '.' || c.seq)
    into v_endpoint, v_conversation, v_seq, v_event_id
    from unnest(p_conversation, p_seq) r(conversation, seq)
    join changes c on c.conversation = r.conversation and c.seq = r.seq
    join webhook_endpoints e on e.enabled and (e.types is null or c.type = any (e.types)) and c.at >= e.created_at
   where c.type <> 'skip' and c.xid >= v_position::text::xid8
     -- What the servers' canaries say to each other is nobody's business.
     and c.conversation is distinct from (select (s.value::json ->> 'conversation')::uuid from settings s where s.key = 'canary')
     and c.seq > coalesce((select p.seq from consumer_progress p
                            where p.consumer = 'webhooks' and p.conversation = c.conversation), 0);
  perform advance_consumer('webhooks', p_token, p_position, p_conversation, p_seq, p_xid);
  if v_endpoint is null then return; end if;
  perform queue_deliveries(v_endpoint, v_conversation, v_seq, v_event_id);
  return query select distinct d.endpoint, d.conversation from unnest(v_endpoint, v_conversation) d(endpoint, conversation);
end $$;

-- Ends one attempt of the worker that holds the lane.
--   outcome 'delivered': the row goes · 'retry': due again after p_delay_ms, the lane is held back until then
--   'dead': kept as a dead letter, the lane goes on
-- Returns 'more' (the claim goes on for p_lease_ms), 'wait', 'idle' (the lane is gone) or 'lost' (another worker has it).
create function settle_delivery(
  p_endpoint uuid, p_conversation uuid, p_claim uuid, p_seq bigint, p_outcome text, p_status integer, p_error text,
  p_delay_ms double precision, p_lease_ms double precision
) returns text language plpgsql volatile as $$
declare
  v_claim uuid;
begin
  select l.claim into v_claim from webhook_lanes l
   where l.endpoint = p_endpoint and l.conversation = p_conversation for update;
  if v_claim is distinct from p_claim then return 'lost'; end if;

  if p_outcome = 'delivered' then
    delete from webhook_deliveries d where d.endpoint = p_endpoint and d.conversation = p_conversation and d.seq = p_seq;
    -- Many lanes, one row: it is written when it says something new.
    update webhook_endpoints set failing_since = null, delivered_at = clock_timestamp()
     where id = p_endpoint
       and (failing_since is not null or delivered_at is null or delivered_at < clock_timestamp() - interval '1 minute');
  else
    update webhook_deliveries d
       set attempts = d.attempts + 1, first_attempt_at = coalesce(d.first_attempt_at, clock_timestamp()),
           last_status = p_status, last_error = p_error,
           dead_at = case when p_outcome = 'dead' then clock_timestamp() end
     where d.endpoint = p_endpoint and d.conversation = p_conversation and d.seq = p_seq;
    update webhook_endpoints set failing_since = clock_timestamp() where id = p_endpoint and failing_since is null;
  end if;

  if p_outcome = 'retry' then
    update webhook_lanes l
       set claim = null, claimed_until = null, due_at = clock_timestamp() + p_delay_ms * interval '1 millisecond', queued_at = null
     where l.endpoint = p_endpoint and l.conversation = p_conversation;
    return 'wait';
  end if;
  if exists (select from webhook_deliveries d
              where d.endpoint = p_endpoint and d.conversation = p_conversation and d.dead_at is null) then
    update webhook_lanes l set claimed_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
     where l.endpoint = p_endpoint and l.conversation = p_conversation;
    return 'more';
  end if;
  delete from webhook_lanes l where l.endpoint = p_endpoint and l.conversation = p_conversation;
  return 'idle';
end $$;

-- E-mail.

create table notification_settings (
  user_id uuid primary key references users (id),
  email text not null,
  confirmed_at timestamptz,
  digest boolean not null,
  -- Of the newest link that confirms the address; used once.
  confirm_hash bytea unique,
  confirm_until timestamptz,
  last_digest_at timestamptz
);

-- How far a person's mails have come: no message at or below is ever mailed again.
create table mail_watermarks (
  user_id uuid not null references users (id),
  conversation uuid not null,
  seq bigint not null,
  primary key (user_id, conversation)
);

-- Who is to be looked at, and when: there may be something unread to tell.
create table mail_due (
  user_id uuid primary key references users (id),
  due_at timestamptz not null,
  queued_at timestamptz
);
create index mail_due_at on mail_due (due_at);

-- ready → sending → sent, refused (certainly not accepted, for good), void (nothing left to say) or unknown (handed over
-- and not confirmed: not sent again). Only what was certainly not accepted goes back to ready.
create table mails (
  id uuid primary key,
  user_id uuid not null references users (id),
  kind text not null check (kind in ('digest', 'confirmation')),
  address text not null,
  state text not null default 'ready' check (state in ('ready', 'sending', 'sent', 'refused', 'void', 'unknown')),
  attempts integer not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  due_at timestamptz not null default clock_timestamp(),
  queued_at timestamptz,
  claim uuid,
  claimed_until timestamptz,
  last_error text,
  ended_at timestamptz
);
create index mails_ready on mails (due_at) where state = 'ready';
create index mails_sending on mails (claimed_until) where state = 'sending';
create index mails_ended on mails (ended_at) where ended_at is not null;
create index mails_confirmations_user on mails (user_id, created_at) where kind = 'confirmation';
create index mails_confirmations_address on mails (lower(address), created_at) where kind = 'confirmation';

-- What a digest speaks about: the messages above from_seq, up to to_seq.
create table mail_parts (
  mail uuid not null references mails (id) on delete cascade,
  conversation uuid not null,
  from_seq bigint not null,
  to_seq bigint not null,
  primary key (mail, conversation)
);

-- Signs the links with which people leave the digest.
insert into settings (key, value)
  values ('mail-key', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));

-- A page of the log for mail: everybody with a confirmed address who may have something unread is looked at later.
create function advance_mail(
  p_token bigint, p_position bigint, p_conversation uuid[], p_seq bigint[], p_xid bigint[], p_delay_ms double precision
) returns boolean language plpgsql volatile as $$
begin
  if not advance_consumer('mail', p_token, p_position, p_conversation, p_seq, p_xid) then return false; end if;
  insert into mail_due (user_id, due_at)
    select m.user_id, min(c.at) + p_delay_ms * interval '1 millisecond'
      from unnest(p_conversation, p_seq) r(conversation, seq)
      join changes c on c.conversation = r.conversation and c.seq = r.seq and c.type = 'message.created'
      join members m on m.conversation = c.conversation and m.left_seq is null and m.user_id <> c.actor and m.read_seq < c.seq
      join notification_settings n on n.user_id = m.user_id and n.digest and n.confirmed_at is not null
     group by m.user_id order by m.user_id
    on conflict (user_id) do nothing;
  return true;
end $$;

-- Looks at one person. Takes them off the list, and then, by statements that see whatever came meanwhile:
--   nothing unread that was not mailed: done
--   unread, but too young, or the last digest too fresh, or connected right now: on the list again, for later
--   otherwise: the watermarks move and a mail is made, together (rule: never twice for the same message)
-- Returns the mail's id, or null.
create function claim_digest(
  p_user uuid, p_mail uuid, p_connected boolean, p_delay_ms double precision, p_gap_ms double precision
) returns uuid language plpgsql volatile as $$
declare
  v_settings notification_settings;
  v_last_seen timestamptz;
  v_oldest timestamptz;
  v_due timestamptz;
  v_now timestamptz := clock_timestamp();
begin
  if exists (select from mails where id = p_mail) then return p_mail; end if;
  delete from mail_due where user_id = p_user and due_at <= v_now;
  if not found then return null; end if;
  select * into v_settings from notification_settings
   where user_id = p_user and digest and confirmed_at is not null for update;
  if not found then return null; end if;
  select last_seen_at into v_last_seen from users where id = p_user and disabled_at is null;
  if not found then return null; end if;

  -- The oldest that came while they were away, among the newest 2 000 of each conversation.
  select min(newest.at) into v_oldest
    from members m
    join conversations v on v.id = m.conversation
    left join mail_watermarks w on w.user_id = m.user_id and w.conversation = m.conversation
    cross join lateral (
      select c.at, c.actor, c.deleted_at from changes c
       where c.conversation = m.conversation and c.seq > greatest(m.read_seq, m.joined_seq, coalesce(w.seq, 0))
         and c.type = 'message.created'
       order by c.seq desc limit 2000) newest
   where m.user_id = p_user and m.left_seq is null
     and v.last_message_seq > greatest(m.read_seq, m.joined_seq, coalesce(w.seq, 0))
     and newest.actor <> p_user and newest.deleted_at is null and (v_last_seen is null or newest.at > v_last_seen);
  if v_oldest is null then return null; end if;

  v_due := greatest(
    v_oldest + p_delay_ms * interval '1 millisecond',
    v_settings.last_digest_at + p_gap_ms * interval '1 millisecond',
    case when p_connected then v_now + p_delay_ms * interval '1 millisecond' end);
  if v_due > v_now then
    insert into mail_due (user_id, due_at) values (p_user, v_due) on conflict (user_id) do nothing;
    return null;
  end if;

  insert into mails (id, user_id, kind, address) values (p_mail, p_user, 'digest', v_settings.email);
  insert into mail_parts (mail, conversation, from_seq, to_seq)
    select p_mail, m.conversation, greatest(m.read_seq, m.joined_seq, coalesce(w.seq, 0)), v.last_message_seq
      from members m
      join conversations v on v.id = m.conversation
      left join mail_watermarks w on w.user_id = m.user_id and w.conversation = m.conversation
     where m.user_id = p_user and m.left_seq is null
       and v.last_message_seq > greatest(m.read_seq, m.joined_seq, coalesce(w.seq, 0));
  insert into mail_watermarks (user_id, conversation, seq)
    select p_user, conversation, to_seq from mail_parts where mail = p_mail
    on conflict (user_id, conversation) do update set seq = greatest(mail_watermarks.seq, excluded.seq);
  update notification_settings set last_digest_at = v_now where user_id = p_user;
  return p_mail;
end $$;

-- Sets where a person gets mail. A new address has to be confirmed; asking again for the same one sends another link.
-- Bounds: a confirmation a minute and five a day for a person, three a day for an address, whoever asks.
-- Returns the milliseconds to wait, and then nothing was stored; 0 when it was; the mail that was made, if any.
create function set_notifications(p_user uuid, p_email text, p_digest boolean, p_mail uuid)
returns table (wait_ms double precision, mail uuid) language plpgsql volatile as $$
declare
  v_known notification_settings;
  v_wait timestamptz;
  v_now timestamptz := clock_timestamp();
begin
  mail := null;
  wait_ms := 0;
  if p_email is null then
    delete from notification_settings n where n.user_id = p_user;
    return next;
    return;
  end if;
  -- The second attempt after a cut commit.
  if exists (select from mails x where x.id = p_mail) then
    mail := p_mail;
    return next;
    return;
  end if;
  -- One at a time for a person: the bounds below count what others committed.
  perform from users u where u.id = p_user for update;
  select * into v_known from notification_settings n where n.user_id = p_user for update;
  if v_known.email = p_email and v_known.confirmed_at is not null then
    update notification_settings n set digest = p_digest where n.user_id = p_user;
    return next;
    return;
  end if;
  select greatest(
    (select max(x.created_at) + interval '1 minute' from mails x where x.kind = 'confirmation' and x.user_id = p_user),
    (select x.created_at + interval '1 day' from mails x
      where x.kind = 'confirmation' and x.user_id = p_user and x.created_at > v_now - interval '1 day'
      order by x.created_at desc offset 4 limit 1),
    (select x.created_at + interval '1 day' from mails x
      where x.kind = 'confirmation' and lower(x.address) = lower(p_email) and x.created_at > v_now - interval '1 day'
      order by x.created_at desc offset 2 limit 1)) into v_wait;
  if v_wait > v_now then
    wait_ms := extract(epoch from v_wait - v_now) * 1000;
    return next;
    return;
  end if;
  insert into notification_settings (user_id, email, digest) values (p_user, p_email, p_digest)
    on conflict (user_id) do update
      set email = excluded.email, digest = excluded.digest, confirmed_at = null, confirm_hash = null, confirm_until = null;
  insert into mails (id, user_id, kind, address) values (p_mail, p_user, 'confirmation', p_email)
    on conflict (id) do nothing;
  mail := p_mail;
  return next;
end $$;
