-- The one road into the log (rules ACK1, IDEM1, ORD1, BAD1, ACL1).
--
-- append_changes(sends as arrays, ops as JSON) appends a whole batch in one round trip and one transaction:
--   1. lock the conversations in the order of their ids (never deadlocks with another batch)
--   2. look duplicates up, then membership: separate statements, so that each sees what was committed before the lock
--   3. counters and rows of the sends, as sets
--   4. the other operations, one by one, in their order
--
-- Arguments
--   p_conversation, p_actor, p_client_id, p_hash, p_text, p_data, p_attachments, p_reply_to: one element per message
--   p_ops: array of {op, conversation, actor, roles, own, …}; `roles` may do it, `own`: the sender may, too
-- Returns one row per send and op:
--   kind 's' or 'o', idx (from 1), outcome, seq, at, xid, detail
--   outcome of a send: stored | duplicate | conflict | not-found | invalid-reply
--   outcome of an op: stored | unchanged | not-found | forbidden | conflict | too-large | invalid
--   detail of an op: what its change carries (see read-changes.ts: the same columns as a row of `changes`); of put-member
--   also the member, and of rename the kind, so that the answer and the announcement need no read that could fail

create type appended as (
  kind text, idx integer, outcome text, seq bigint, at timestamptz, xid xid8, detail json
);

-- The next number of a locked conversation, with its time.
create function next_seq(p_conversation uuid, out o_seq bigint, out o_at timestamptz) language sql volatile as $$
  update conversations
     set seq = seq + 1, last_xid = pg_current_xact_id(), last_at = greatest(last_at, clock_timestamp())
   where id = p_conversation
  returning seq, last_at;
$$;

create function message_detail(p_conversation uuid, p_seq bigint) returns json language sql stable as $$
  select json_build_object(
    'version', version, 'client_id', client_id, 'sender', actor, 'text', text, 'data', data, 'attachments', attachments,
    'reply_to', reply_to, 'created_at', at, 'edited_at', edited_at, 'deleted_at', deleted_at)
  from changes where conversation = p_conversation and seq = p_seq;
$$;

create function member_detail(p_conversation uuid, p_user uuid) returns json language sql stable as $$
  select json_build_object(
    'user', json_build_object('id', u.id, 'handle', u.handle, 'name', u.name, 'avatar', u.avatar),
    'role', m.role, 'joinedSeq', m.joined_seq, 'readSeq', m.read_seq)
  from members m join users u on u.id = m.user_id where m.conversation = p_conversation and m.user_id = p_user;
$$;

-- How many different emoji a message has, counted up to p_max: one look-up each, however many chose them.
create function count_emoji(p_conversation uuid, p_target bigint, p_max integer) returns bigint language sql stable as $$
  with recursive kinds as (
    (select emoji, 1 as n from reactions
      where conversation = p_conversation and target = p_target and not removed order by emoji limit 1)
    union all
    select (select r.emoji from reactions r
             where r.conversation = p_conversation and r.target = p_target and not r.removed and r.emoji > kinds.emoji
             order by r.emoji limit 1), n + 1
      from kinds where emoji is not null and n < p_max)
  select count(emoji) from kinds;
$$;

-- Is somebody a member of p_max conversations already? Counts no further.
create function has_memberships(p_user uuid, p_max bigint) returns boolean language sql stable as $$
  select count(*) >= p_max from (select from members where user_id = p_user and left_seq is null limit p_max) held;
$$;

-- Adds one member to a locked conversation and appends the change; the member row's counters start at the join.
create function join_member(p_conversation uuid, p_actor uuid, p_user uuid, p_role text, out o_seq bigint, out o_at timestamptz)
language plpgsql volatile as $$
begin
  select n.o_seq, n.o_at into o_seq, o_at from next_seq(p_conversation) n;
  insert into changes (conversation, seq, at, type, actor, user_id, role)
    values (p_conversation, o_seq, o_at, 'member.joined', p_actor, p_user, p_role);
  insert into members (conversation, user_id, role, joined_seq, read_seq)
    values (p_conversation, p_user, p_role, o_seq, o_seq)
    on conflict (conversation, user_id) do update
      set role = excluded.role, joined_seq = excluded.joined_seq, left_seq = null, read_seq = excluded.read_seq,
          xid = pg_current_xact_id();
  update conversations set member_version = o_seq, member_count = member_count + 1 where id = p_conversation;
end $$;

create function append_op(p_idx integer, p_op jsonb) returns appended language plpgsql volatile as $$
declare
  result appended;
  v_op text := p_op ->> 'op';
  v_conversation uuid := (p_op ->> 'conversation')::uuid;
  v_actor uuid := (p_op ->> 'actor')::uuid;
  v_target bigint := (p_op ->> 'target')::bigint;
  v_user uuid := (p_op ->> 'user')::uuid;
  v_role text;
  v_kind text;
  v_message record;
  v_member record;
  v_reaction record;
  v_seq bigint;
  v_at timestamptz;
begin
  result.kind := 'o';
  result.idx := p_idx;
  result.outcome := 'stored';
  result.xid := pg_current_xact_id();

  if v_op = 'create' then
    insert into conversations (id, kind, name, direct_key)
      values (v_conversation, p_op ->> 'kind', p_op ->> 'name', p_op ->> 'directKey')
      on conflict do nothing;
    if not found then
      -- The pair has one already, or this is the second attempt after a cut commit.
      select json_build_object('conversation', id), seq into result.detail, result.seq
        from conversations where id = v_conversation or direct_key = p_op ->> 'directKey';
      result.outcome := 'unchanged';
      return result;
    end if;
    if (select count(*) from users where id in (select value::uuid from jsonb_array_elements_text(p_op -> 'members')) and disabled_at is null)
       < jsonb_array_length(p_op -> 'members') then
      delete from conversations where id = v_conversation;
      result.outcome := 'not-found';
      return result;
    end if;
    if exists (
      select from jsonb_array_elements_text(p_op -> 'members') named
       where has_memberships(named.value::uuid, (p_op ->> 'conversationsMax')::bigint)) then
      delete from conversations where id = v_conversation;
      result.outcome := 'too-large';
      return result;
    end if;
    select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
    insert into changes (conversation, seq, at, type, actor, name)
      values (v_conversation, v_seq, v_at, 'conversation.created', v_actor, p_op ->> 'name');
    for v_user, v_role in
      select m.value::uuid,
             case when p_op ->> 'kind' = 'direct' then 'member' when m.value::uuid = v_actor then 'owner' else 'member' end
        from jsonb_array_elements_text(p_op -> 'members') with ordinality m(value, n) order by m.n
    loop
      select j.o_seq, j.o_at into v_seq, v_at from join_member(v_conversation, v_actor, v_user, v_role) j;
    end loop;
    result.seq := v_seq;
    result.at := v_at;
    result.detail := json_build_object('conversation', v_conversation);
    return result;
  end if;

  select kind, seq into v_kind, v_seq from conversations where id = v_conversation;
  select role into v_role from members where conversation = v_conversation and user_id = v_actor and left_seq is null;

  -- A stranger may only join a public channel; everything else does not exist for him.
  if v_kind is null or (v_role is null and not (v_op = 'put-member' and v_kind = 'channel' and v_user = v_actor)) then
    result.outcome := 'not-found';
    return result;
  end if;

  if v_op in ('edit', 'delete', 'react', 'unreact') then
    select * into v_message from changes
     where conversation = v_conversation and seq = v_target and type = 'message.created';
    if not found then
      result.outcome := 'not-found';
      return result;
    end if;
    if not ((p_op -> 'roles') ? v_role or ((p_op ->> 'own')::boolean and v_message.actor = v_actor)) then
      result.outcome := 'forbidden';
      return result;
    end if;
    if v_op = 'delete' and v_message.deleted_at is not null then
      result.outcome := 'unchanged';
      result.seq := v_message.version;
      result.at := v_message.deleted_at;
      result.detail := message_detail(v_conversation, v_target);
      return result;
    end if;
    if v_message.deleted_at is not null then
      result.outcome := 'not-found';
      return result;
    end if;
  elsif not ((p_op -> 'kinds') ? v_kind) then
    result.outcome := 'forbidden';
    return result;
  end if;

  case v_op
  when 'edit' then
    if v_message.text = p_op ->> 'text' then
      result.outcome := 'unchanged';
      result.seq := v_message.version;
      result.at := coalesce(v_message.edited_at, v_message.at);
      result.detail := message_detail(v_conversation, v_target);
      return result;
    end if;
    select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
    update changes set text = p_op ->> 'text', version = v_seq, edited_at = v_at
     where conversation = v_conversation and seq = v_target;
    insert into changes (conversation, seq, at, type, actor, target)
      values (v_conversation, v_seq, v_at, 'message.edited', v_actor, v_target);
    result.detail := message_detail(v_conversation, v_target);

  when 'delete' then
    select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
    update changes set text = '', data = null, attachments = null, version = v_seq, deleted_at = v_at
     where conversation = v_conversation and seq = v_target;
    delete from reactions where conversation = v_conversation and target = v_target;
    insert into changes (conversation, seq, at, type, actor, target)
      values (v_conversation, v_seq, v_at, 'message.deleted', v_actor, v_target);
    result.detail := message_detail(v_conversation, v_target);

  when 'react', 'unreact' then
    select * into v_reaction from reactions
     where conversation = v_conversation and target = v_target and user_id = v_actor and emoji = p_op ->> 'emoji';
    if (v_op = 'react' and v_reaction.seq is not null and not v_reaction.removed)
       or (v_op = 'unreact' and (v_reaction.seq is null or v_reaction.removed)) then
      result.outcome := 'unchanged';
      result.seq := coalesce(v_reaction.seq, v_message.version);
      return result;
    end if;
    if v_op = 'react'
       and not exists (
         select from reactions
          where conversation = v_conversation and target = v_target and emoji = p_op ->> 'emoji' and not removed)
       and count_emoji(v_conversation, v_target, (p_op ->> 'kindsMax')::integer) >= (p_op ->> 'kindsMax')::integer then
      result.outcome := 'too-large';
      return result;
    end if;
    select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
    insert into reactions (conversation, target, user_id, emoji, seq, removed)
      values (v_conversation, v_target, v_actor, p_op ->> 'emoji', v_seq, v_op = 'unreact')
      on conflict (conversation, target, user_id, emoji) do update set seq = excluded.seq, removed = excluded.removed;
    insert into changes (conversation, seq, at, type, actor, target, emoji)
      values (v_conversation, v_seq, v_at, case v_op when 'react' then 'reaction.added' else 'reaction.removed' end,
              v_actor, v_target, p_op ->> 'emoji');

  when 'rename' then
    if not ((p_op -> 'roles') ? v_role) then
      result.outcome := 'forbidden';
      return result;
    end if;
    if (select name from conversations where id = v_conversation) = p_op ->> 'name' then
      result.outcome := 'unchanged';
      result.seq := v_seq;
      return result;
    end if;
    select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
    update conversations set name = p_op ->> 'name' where id = v_conversation;
    insert into changes (conversation, seq, at, type, actor, name)
      values (v_conversation, v_seq, v_at, 'conversation.updated', v_actor, p_op ->> 'name');
    result.detail := json_build_object('kind', v_kind);

  when 'put-member' then
    select * into v_member from members where conversation = v_conversation and user_id = v_user;
    if found and v_member.left_seq is null then
      if p_op ->> 'role' is null or p_op ->> 'role' = v_member.role then
        result.outcome := 'unchanged';
        result.seq := v_member.joined_seq;
        result.detail := json_build_object('role', v_member.role, 'member', member_detail(v_conversation, v_user));
        return result;
      end if;
      -- Only an owner changes roles, and the last owner stays one.
      if not ((p_op -> 'changeRoles') ? v_role) then
        result.outcome := 'forbidden';
        return result;
      end if;
      if v_member.role = 'owner' and (
        select count(*) from members where conversation = v_conversation and left_seq is null and role = 'owner') = 1 then
        result.outcome := 'forbidden';
        return result;
      end if;
      select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
      update members set role = p_op ->> 'role', xid = pg_current_xact_id()
       where conversation = v_conversation and user_id = v_user;
      update conversations set member_version = v_seq where id = v_conversation;
      insert into changes (conversation, seq, at, type, actor, user_id, role)
        values (v_conversation, v_seq, v_at, 'member.updated', v_actor, v_user, p_op ->> 'role');
      result.detail := json_build_object('role', p_op ->> 'role', 'member', member_detail(v_conversation, v_user));
    else
      -- Joining oneself needs a channel; adding others needs a role; granting a role needs the right to change roles.
      if not (v_role is null or (p_op -> 'roles') ? v_role)
         or (coalesce(p_op ->> 'role', 'member') <> 'member' and (v_role is null or not ((p_op -> 'changeRoles') ? v_role))) then
        result.outcome := 'forbidden';
        return result;
      end if;
      if not exists (select from users where id = v_user and disabled_at is null) then
        result.outcome := 'not-found';
        return result;
      end if;
      if has_memberships(v_user, (p_op ->> 'conversationsMax')::bigint) then
        result.outcome := 'too-large';
        return result;
      end if;
      select j.o_seq, j.o_at into v_seq, v_at
        from join_member(v_conversation, v_actor, v_user, coalesce(p_op ->> 'role', 'member')) j;
      result.detail := json_build_object(
        'role', coalesce(p_op ->> 'role', 'member'), 'joined', true, 'member', member_detail(v_conversation, v_user));
    end if;

  when 'remove-member' then
    select * into v_member from members
     where conversation = v_conversation and user_id = v_user and left_seq is null;
    if not found then
      result.outcome := 'not-found';
      return result;
    end if;
    -- An owner removes anybody, a moderator only members; leaving needs no role. The last owner leaves last.
    if v_user <> v_actor and not ((p_op -> 'removes' -> v_role) ? v_member.role) then
      result.outcome := 'forbidden';
      return result;
    end if;
    if v_member.role = 'owner'
       and (select count(*) from members where conversation = v_conversation and left_seq is null and role = 'owner') = 1
       and (select member_count from conversations where id = v_conversation) > 1 then
      result.outcome := 'forbidden';
      return result;
    end if;
    select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
    update members set left_seq = v_seq, xid = pg_current_xact_id()
     where conversation = v_conversation and user_id = v_user;
    update conversations set member_version = v_seq, member_count = member_count - 1 where id = v_conversation;
    insert into changes (conversation, seq, at, type, actor, user_id, role)
      values (v_conversation, v_seq, v_at, 'member.left', v_actor, v_user, v_member.role);
    result.detail := json_build_object('role', v_member.role);

  else
    raise exception 'unknown operation %', v_op;
  end case;

  result.seq := v_seq;
  result.at := v_at;
  return result;
end $$;

create function append_changes(
  p_conversation uuid[], p_actor uuid[], p_client_id uuid[], p_hash bytea[], p_text text[], p_data json[],
  p_attachments text[], p_reply_to bigint[], p_ops jsonb
) returns setof appended
language plpgsql volatile
-- Nested loops over indexes are right for every batch, whatever the statistics say of tables never analysed.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_material = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_count integer := coalesce(array_length(p_conversation, 1), 0);
  v_seq bigint[];
  v_at timestamptz[];
  v_outcome text[];
  v_first bigint[];
  v_now timestamptz;
  v_top record;
  v_op jsonb;
  v_idx integer := 0;
begin
  -- Under repeatable read the checks below would see a snapshot older than the lock (a removed member's message was stored).
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'append_changes needs read committed';
  end if;

  perform from conversations
    where id = any (p_conversation || array(select (o ->> 'conversation')::uuid from jsonb_array_elements(p_ops) o))
    order by id for update;

  if v_count > 0 then
    -- Duplicates are looked up before access is refused: a retry after one's removal still gets the first answer (IDEM1).
    select
      array_agg(
        case
          when d.seq is not null then case when d.request_hash = r.hash then 'duplicate' else 'conflict' end
          when m.user_id is null then 'not-found'
          when r.reply_to is not null and t.seq is null then 'invalid-reply'
          when r.first < r.i then case when r.first_hash = r.hash then 'repeated' else 'conflict' end
          else 'stored'
        end order by r.i),
      array_agg(d.seq order by r.i),
      array_agg(d.at order by r.i),
      array_agg(r.first order by r.i)
      into v_outcome, v_seq, v_at, v_first
      from (
        select u.*, first_value(u.i) over w as first, first_value(u.hash) over w as first_hash
          from unnest(p_conversation, p_actor, p_client_id, p_hash, p_reply_to) with ordinality
            u(conversation, actor, client_id, hash, reply_to, i)
        window w as (partition by u.conversation, u.actor, u.client_id order by u.i)
      ) r
      -- LIMIT keeps each of these a look-up by its key: as joins, a plan made while the tables were small reads a whole
      -- index for every batch.
      left join lateral (select c.seq, c.at, c.request_hash from changes c
        where c.actor = r.actor and c.conversation = r.conversation and c.client_id = r.client_id limit 1) d on true
      left join lateral (select s.user_id from members s
        where s.conversation = r.conversation and s.user_id = r.actor and s.left_seq is null limit 1) m on true
      left join lateral (select c.seq from changes c
        where c.conversation = r.conversation and c.seq = r.reply_to and c.type = 'message.created' limit 1) t on true;

    -- Numbers and times, worked out once and carried in arrays: joining one result of the batch to another would be a
    -- nested loop over both, quadratic in the batch.
    v_now := clock_timestamp();
    select array_agg(case when u.outcome = 'stored' then c.seq + u.n else u.seq end order by u.i),
           array_agg(case when u.outcome = 'stored' then greatest(c.last_at, v_now) else u.at end order by u.i)
      into v_seq, v_at
      from (
        select u.*, count(*) filter (where u.outcome = 'stored') over (partition by u.conversation order by u.i) as n
          from unnest(p_conversation, v_outcome, v_seq, v_at) with ordinality u(conversation, outcome, seq, at, i)
      ) u
      left join lateral (select k.seq, k.last_at from conversations k where k.id = u.conversation limit 1) c on true;

    insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text, data, attachments, reply_to)
    select u.conversation, u.seq, u.at, 'message.created', u.actor, u.client_id, u.hash, u.seq, u.text, u.data,
           u.attachments::uuid[], u.reply_to
      from unnest(p_conversation, p_actor, p_client_id, p_hash, p_text, p_data, p_attachments, p_reply_to, v_outcome, v_seq, v_at)
        u(conversation, actor, client_id, hash, text, data, attachments, reply_to, outcome, seq, at)
     where u.outcome = 'stored';

    -- One by one: a look-up by key each, whatever the statistics say; as a join, a plan made while the table was small
    -- reads all conversations for every batch.
    for v_top in
      select u.conversation, max(u.seq) as seq, max(u.at) as at
        from unnest(p_conversation, v_outcome, v_seq, v_at) u(conversation, outcome, seq, at)
       where u.outcome = 'stored' group by u.conversation
    loop
      update conversations set seq = v_top.seq, last_message_seq = v_top.seq, last_xid = pg_current_xact_id(), last_at = v_top.at
       where id = v_top.conversation;
    end loop;

    return query
    select 's'::text, r.i::integer,
           case when r.outcome = 'repeated' then 'duplicate' else r.outcome end,
           case when r.outcome = 'repeated' then v_seq[r.first] else r.seq end,
           case when r.outcome = 'repeated' then v_at[r.first] else r.at end,
           pg_current_xact_id(), null::json
      from unnest(v_outcome, v_seq, v_at, v_first) with ordinality r(outcome, seq, at, first, i);
  end if;

  for v_op in select value from jsonb_array_elements(p_ops) loop
    v_idx := v_idx + 1;
    return next append_op(v_idx, v_op);
  end loop;
end $$;
