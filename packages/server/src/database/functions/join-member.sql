-- Adds a member to a locked conversation and appends the change. The counters of the member start
-- at the join.
create or replace function join_member(p_conversation uuid, p_actor uuid, p_user uuid, p_role text, out o_seq bigint, out o_at timestamptz)
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
