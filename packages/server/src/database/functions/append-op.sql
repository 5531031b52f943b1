-- Applies one operation other than a send. The caller has locked the conversation (append_changes).
-- p_op contains the operation's fields and the policy (allowed roles). A disabled owner does not
-- count as an owner (OWN1).
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
  if v_op in ('send-card', 'update-card', 'act') then
    return append_card(p_idx, p_op);
  end if;
  if v_op in ('erase-message', 'erase-reaction', 'erase-member') then
    return append_erasure(p_idx, p_op);
  end if;

  select kind, seq into v_kind, v_seq from conversations where id = v_conversation;
  select role into v_role from members where conversation = v_conversation and user_id = v_actor and left_seq is null;
  -- A request of the integrator's back end adds members to any conversation of a subject, describes
  -- the subject, and lets the bot of its key join any group or channel.
  if v_op in ('put-member', 'describe-subject') and (p_op ->> 'byKey')::boolean
     and ((v_op = 'put-member' and v_user = v_actor and v_kind <> 'direct')
          or exists (select from conversations where id = v_conversation and subject_type is not null)) then
    v_role := 'owner';
  end if;

  -- A non-member may only join a public channel. For every other operation, the conversation does
  -- not exist.
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
    update changes set text = '', data = null, card = null, attachments = null, version = v_seq, deleted_at = v_at
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

  when 'describe-subject' then
    if (select subject_type from conversations where id = v_conversation) is null then
      result.outcome := 'forbidden';
      return result;
    end if;
    if exists (
      select from conversations
       where id = v_conversation and subject_title is not distinct from p_op ->> 'title'
         and subject_url is not distinct from p_op ->> 'url'
         and subject_data::jsonb is not distinct from (p_op ->> 'data')::jsonb
    ) then
      result.outcome := 'unchanged';
      result.seq := v_seq;
      return result;
    end if;
    select n.o_seq, n.o_at into v_seq, v_at from next_seq(v_conversation) n;
    update conversations
       set subject_title = p_op ->> 'title', subject_url = p_op ->> 'url', subject_data = (p_op ->> 'data')::json
     where id = v_conversation;
    -- The change repeats the name: a server of the version before reads the change as a rename.
    insert into changes (conversation, seq, at, type, actor, name)
      select v_conversation, v_seq, v_at, 'conversation.updated', v_actor, name from conversations where id = v_conversation;
    select json_build_object('kind', v_kind, 'name', name) into result.detail from conversations where id = v_conversation;

  when 'put-member' then
    select * into v_member from members where conversation = v_conversation and user_id = v_user;
    if found and v_member.left_seq is null then
      if p_op ->> 'role' is null or p_op ->> 'role' = v_member.role then
        result.outcome := 'unchanged';
        result.seq := v_member.joined_seq;
        result.detail := json_build_object('role', v_member.role, 'member', member_detail(v_conversation, v_user));
        return result;
      end if;
      -- Only an owner changes roles, and the last owner keeps the role.
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
       where conversation = v_conversation and user_id = v_user and left_seq is null;
      update conversations set member_version = v_seq where id = v_conversation;
      insert into changes (conversation, seq, at, type, actor, user_id, role)
        values (v_conversation, v_seq, v_at, 'member.updated', v_actor, v_user, p_op ->> 'role');
      result.detail := json_build_object('role', p_op ->> 'role', 'member', member_detail(v_conversation, v_user));
    else
      -- Users may join only channels by themselves. Adding others needs a role, and granting a role
      -- needs the right to change roles.
      if not (v_role is null or (p_op -> 'roles') ? v_role)
         or (coalesce(p_op ->> 'role', 'member') <> 'member' and (v_role is null or not ((p_op -> 'changeRoles') ? v_role))) then
        result.outcome := 'forbidden';
        return result;
      end if;
      -- Locked, so that an erasure which begins now finds the new membership (ERASE2).
      perform from users where id = v_user and disabled_at is null and erasing_since is null for key share;
      if not found then
        result.outcome := 'not-found';
        return result;
      end if;
      if has_memberships(v_user, (p_op ->> 'conversationsMax')::bigint) then
        result.outcome := 'too-large';
        return result;
      end if;
      -- OWN1: the conversation is locked, so when two users join a channel without an owner at
      -- once, one becomes the owner.
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
    -- Owners may remove all members, moderators only plain members. Leaving needs no role. The last
    -- owner cannot leave before the others.
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
     where conversation = v_conversation and user_id = v_user and left_seq is null;
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
