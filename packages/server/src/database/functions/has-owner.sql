-- Returns whether the conversation has an owner with an enabled account, other than p_except.
create or replace function has_owner(p_conversation uuid, p_except uuid) returns boolean language sql stable as $$
  select exists (
    select from members m join users u on u.id = m.user_id
     where m.conversation = p_conversation and m.role = 'owner' and m.left_seq is null and u.disabled_at is null
       and m.user_id is distinct from p_except);
$$;
