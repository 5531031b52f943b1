-- Processes a page of the log for mail: lists all users with a confirmed address who may have
-- unread messages.
create or replace function advance_mail(
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
