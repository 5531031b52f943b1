-- Erases one message, reaction or membership of a user who is being erased (ERASE2). Called by
-- append_op under the conversation's lock. Needs no membership: the user may have left before. A
-- repeated step changes nothing.
create or replace function append_erasure(p_idx integer, p_op jsonb) returns appended language plpgsql volatile as $$
declare
  result appended;
  v_op text := p_op ->> 'op';
  v_conversation uuid := (p_op ->> 'conversation')::uuid;
  v_user uuid := (p_op ->> 'actor')::uuid;
  v_target bigint := (p_op ->> 'target')::bigint;
  v_message record;
  v_reaction record;
  v_role text;
begin
  result.kind := 'o';
  result.idx := p_idx;
  result.outcome := 'unchanged';
  result.seq := 0;
  result.xid := pg_current_xact_id();
  if not exists (select from users where id = v_user and erasing_since is not null) then
    result.outcome := 'forbidden';
    return result;
  end if;

  case v_op
  when 'erase-message' then
    select * into v_message from changes
     where conversation = v_conversation and seq = v_target and type = 'message.created' and actor = v_user;
    if not found then
      result.outcome := 'not-found';
      return result;
    end if;
    if v_message.deleted_at is null then
      select n.o_seq, n.o_at into result.seq, result.at from next_seq(v_conversation) n;
      -- The hash of a short text would reveal it. No request needs it: the user cannot send again.
      update changes set text = '', data = null, card = null, attachments = null, request_hash = '',
                         version = result.seq, deleted_at = result.at
       where conversation = v_conversation and seq = v_target;
      delete from reactions where conversation = v_conversation and target = v_target;
      insert into changes (conversation, seq, at, type, actor, target)
        values (v_conversation, result.seq, result.at, 'message.deleted', v_user, v_target);
      result.outcome := 'stored';
    else
      update changes set request_hash = '' where conversation = v_conversation and seq = v_target;
      result.seq := v_message.version;
      result.at := v_message.deleted_at;
    end if;
    result.detail := message_detail(v_conversation, v_target);

  when 'erase-reaction' then
    delete from reactions
     where conversation = v_conversation and target = v_target and user_id = v_user and emoji = p_op ->> 'emoji'
    returning removed into v_reaction;
    if not found or v_reaction.removed then
      return result;
    end if;
    select n.o_seq, n.o_at into result.seq, result.at from next_seq(v_conversation) n;
    insert into changes (conversation, seq, at, type, actor, target, emoji)
      values (v_conversation, result.seq, result.at, 'reaction.removed', v_user, v_target, p_op ->> 'emoji');
    result.outcome := 'stored';

  when 'erase-member' then
    select role into v_role from members where conversation = v_conversation and user_id = v_user and left_seq is null;
    if not found or exists (select from conversations where id = v_conversation and kind = 'direct') then
      return result;
    end if;
    select n.o_seq, n.o_at into result.seq, result.at from next_seq(v_conversation) n;
    update members set left_seq = result.seq, xid = pg_current_xact_id()
     where conversation = v_conversation and user_id = v_user and left_seq is null;
    update conversations set member_version = result.seq, member_count = member_count - 1 where id = v_conversation;
    insert into changes (conversation, seq, at, type, actor, user_id, role)
      values (v_conversation, result.seq, result.at, 'member.left', v_user, v_user, v_role);
    result.detail := json_build_object('role', v_role);
    result.outcome := 'stored';
    if v_role = 'owner' then
      perform ensure_owner(v_conversation, v_user);
    end if;
  end case;
  return result;
end $$;
