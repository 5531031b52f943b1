-- Gives a locked conversation without an owner a new one: the longest-standing moderator, or else
-- member.
create or replace function ensure_owner(p_conversation uuid, p_actor uuid) returns void language plpgsql volatile as $$
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
  update members set role = 'owner', xid = pg_current_xact_id() where conversation = p_conversation and user_id = v_heir
     and left_seq is null;
  update conversations set member_version = v_seq where id = p_conversation;
  insert into changes (conversation, seq, at, type, actor, user_id, role)
    values (p_conversation, v_seq, v_at, 'member.updated', coalesce(p_actor, v_heir), v_heir, 'owner');
end $$;
