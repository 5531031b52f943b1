-- Conversations are created as a set and once, and a conversation that people can join has an owner (rules IDEM2, OWN1).
--
-- A creation was a loop over its members with four statements each, under the connection that stores other people's
-- messages. append_create writes the same rows with four statements in all.

alter table conversations
  -- Of a creation with a clientId: the creator, the id and a hash of the request. Unique for as long as the row lives.
  add column creator uuid,
  add column client_id uuid,
  add column request_hash bytea;
create unique index conversations_client_id on conversations (creator, client_id) where client_id is not null;

-- The owners of a conversation, without a walk over its members.
create index members_owners on members (conversation) where role = 'owner' and left_seq is null;

-- Does the conversation have an owner with an enabled account, other than p_except?
create function has_owner(p_conversation uuid, p_except uuid) returns boolean language sql stable as $$
  select exists (
    select from members m join users u on u.id = m.user_id
     where m.conversation = p_conversation and m.role = 'owner' and m.left_seq is null and u.disabled_at is null
       and m.user_id is distinct from p_except);
$$;

-- Makes the longest-standing moderator, else member, the owner of a locked conversation that has none.
create function ensure_owner(p_conversation uuid, p_actor uuid) returns void language plpgsql volatile as $$
declare
  v_heir uuid;
  v_seq bigint;
  v_at timestamptz;
begin
  if has_owner(p_conversation, null) then
    return;
  end if;
  select m.user_id into v_heir
    from members m join users u on u.id = m.user_id
   where m.conversation = p_conversation and m.left_seq is null and u.disabled_at is null
   order by (m.role = 'moderator') desc, m.joined_seq limit 1;
  if not found then
    return;
  end if;
  select n.o_seq, n.o_at into v_seq, v_at from next_seq(p_conversation) n;
  update members set role = 'owner', xid = pg_current_xact_id() where conversation = p_conversation and user_id = v_heir;
  update conversations set member_version = v_seq where id = p_conversation;
  insert into changes (conversation, seq, at, type, actor, user_id, role)
    values (p_conversation, v_seq, v_at, 'member.updated', coalesce(p_actor, v_heir), v_heir, 'owner');
end $$;

-- An account that is disabled hands its conversations over. The lock is taken whether or not there is another owner: that
-- owner may be about to leave.
create function hand_over_conversations() returns trigger language plpgsql as $$
declare
  v_conversation uuid;
begin
  for v_conversation in
    select conversation from members where user_id = new.id and role = 'owner' and left_seq is null order by conversation
  loop
    perform from conversations where id = v_conversation for update;
    perform ensure_owner(v_conversation, new.id);
  end loop;
  return null;
end $$;
create trigger users_disabled_owner after update of disabled_at on users
  for each row when (old.disabled_at is null and new.disabled_at is not null)
  execute function hand_over_conversations();

-- Creates a conversation with all its members. p_op as for append_op, with clientId and hash (hex) or null.
create function append_create(p_idx integer, p_op jsonb) returns appended
language plpgsql volatile
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  result appended;
  v_conversation uuid := (p_op ->> 'conversation')::uuid;
  v_actor uuid := (p_op ->> 'actor')::uuid;
  v_client_id uuid := (p_op ->> 'clientId')::uuid;
  v_hash bytea := decode(p_op ->> 'hash', 'hex');
  v_members uuid[] := array(
    select m.value::uuid from jsonb_array_elements_text(p_op -> 'members') with ordinality m(value, n) order by m.n);
  v_count integer := cardinality(v_members);
  v_at timestamptz;
  v_known record;
begin
  result.kind := 'o';
  result.idx := p_idx;
  result.outcome := 'stored';
  result.xid := pg_current_xact_id();

  insert into conversations (id, kind, name, direct_key, creator, client_id, request_hash, seq, member_version, member_count)
    values (v_conversation, p_op ->> 'kind', p_op ->> 'name', p_op ->> 'directKey',
            case when v_client_id is not null then v_actor end, v_client_id, v_hash, v_count + 1, v_count + 1, v_count)
    on conflict do nothing
    returning last_at into v_at;
  if not found then
    -- IDEM2: this request again. Otherwise the pair has one already, or this is the second attempt after a cut commit.
    select id, seq, request_hash into v_known
      from conversations where creator = v_actor and client_id = v_client_id;
    if found and v_known.request_hash <> v_hash then
      result.outcome := 'conflict';
      return result;
    elsif not found then
      select id, seq into v_known from conversations where id = v_conversation;
    end if;
    if not found then
      select id, seq into v_known from conversations where direct_key = p_op ->> 'directKey';
    end if;
    result.seq := v_known.seq;
    result.detail := json_build_object('conversation', v_known.id);
    result.outcome := 'unchanged';
    return result;
  end if;

  if (select count(*) from users where id = any (v_members) and disabled_at is null) < v_count then
    delete from conversations where id = v_conversation;
    result.outcome := 'not-found';
    return result;
  end if;
  if exists (
    select from unnest(v_members) named(id) where has_memberships(named.id, (p_op ->> 'conversationsMax')::bigint)) then
    delete from conversations where id = v_conversation;
    result.outcome := 'too-large';
    return result;
  end if;

  insert into changes (conversation, seq, at, type, actor, name)
    values (v_conversation, 1, v_at, 'conversation.created', v_actor, p_op ->> 'name');
  insert into changes (conversation, seq, at, type, actor, user_id, role)
    select v_conversation, named.n + 1, v_at, 'member.joined', v_actor, named.id,
           case when named.id = v_actor and p_op ->> 'kind' <> 'direct' then 'owner' else 'member' end
      from unnest(v_members) with ordinality named(id, n);
  insert into members (conversation, user_id, role, joined_seq, read_seq)
    select v_conversation, named.id,
           case when named.id = v_actor and p_op ->> 'kind' <> 'direct' then 'owner' else 'member' end,
           named.n + 1, named.n + 1
      from unnest(v_members) with ordinality named(id, n);
  result.seq := v_count + 1;
  result.at := v_at;
  result.detail := json_build_object('conversation', v_conversation);
  return result;
end $$;

-- As in 002, with three differences: creation has a function of its own, a disabled owner does not count as an owner, and
-- the first to join a channel without an owner becomes its owner.
create or replace function append_op(p_idx integer, p_op jsonb) returns appended language plpgsql volatile as $$
declare
  result appended;
  v_op text := p_op ->> 'op';
  v_conversation uuid := (p_op ->> 'conversation')::uuid;
  v_actor uuid := (p_op ->> 'actor')::uuid;
  v_target bigint := (p_op ->> 'target')::bigint;
  v_user uuid := (p_op ->> 'user')::uuid;
  v_role text;
  v_joins_as text;
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
    return append_create(p_idx, p_op);
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
      if v_member.role = 'owner' and not has_owner(v_conversation, v_user) then
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
      -- OWN1: the lock is held, so of two who join an abandoned channel at once one becomes the owner.
      v_joins_as := case
        when v_role is null and not has_owner(v_conversation, null) then 'owner'
        else coalesce(p_op ->> 'role', 'member') end;
      select j.o_seq, j.o_at into v_seq, v_at from join_member(v_conversation, v_actor, v_user, v_joins_as) j;
      result.detail := json_build_object(
        'role', v_joins_as, 'joined', true, 'member', member_detail(v_conversation, v_user));
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
       and not has_owner(v_conversation, v_user)
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

-- Groups and channels whose last owner left or was disabled before this.
do $$
declare
  v_conversation uuid;
begin
  for v_conversation in
    select c.id from conversations c
     where c.kind <> 'direct' and c.member_count > 0 and not has_owner(c.id, null) order by c.id
  loop
    perform from conversations where id = v_conversation for update;
    perform ensure_owner(v_conversation, null);
  end loop;
end $$;
