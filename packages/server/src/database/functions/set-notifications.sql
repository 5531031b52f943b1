-- Sets a user's mail address. A new address must be confirmed; requesting the same one again sends
-- another link. Limits: one confirmation a minute and five a day for each user, three a day for
-- each address over all users. Returns the milliseconds to wait, in which case nothing is stored,
-- or 0, and the id of the created mail, if any.
create or replace function set_notifications(p_user uuid, p_email text, p_digest boolean, p_mail uuid)
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
  -- This retries a commit whose response was lost.
  if exists (select from mails x where x.id = p_mail) then
    mail := p_mail;
    return next;
    return;
  end if;
  -- Lock the user: the limits below count committed rows.
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
