-- Sessions on several servers: what is long over is deleted, and disabling a user ends their sessions.

-- Which sessions are long over, without reading the table.
create index sessions_expires on sessions (expires_at);
create index sessions_revoked on sessions (revoked_at) where revoked_at is not null;

-- A disabled user is no one's any more: the sweep tells every server, which closes their connections and believes no
-- cache of their sessions (ACL2).
create function revoke_sessions_of_disabled() returns trigger language plpgsql as $$
begin
  update sessions set revoked_at = now(), xid = pg_current_xact_id() where user_id = new.id and revoked_at is null;
  return null;
end $$;
create trigger users_disabled after update of disabled_at on users
  for each row when (old.disabled_at is null and new.disabled_at is not null)
  execute function revoke_sessions_of_disabled();
