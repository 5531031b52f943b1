-- Returns whether a user is a member of at least p_max conversations. Counts no further.
create or replace function has_memberships(p_user uuid, p_max bigint) returns boolean language sql stable as $$
  select count(*) >= p_max from (select from members where user_id = p_user and left_seq is null limit p_max) held;
$$;
