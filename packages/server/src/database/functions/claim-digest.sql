-- Decides about one user's digest. Removes the user from the list, and then, in statements that see
-- all later changes:
--   nothing unread that was not mailed: nothing more
--   unread messages, but too new, or the last digest was too recent, or the user is connected:
--     lists the user again
--   otherwise: advances the watermarks and creates a mail in one transaction, so no message is
--     mailed twice
-- Returns the id of the mail, or null.
create or replace function claim_digest(
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

  -- Find the oldest message since the user was last seen, among the newest 2 000 of each
  -- conversation.
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
