-- Revokes the sessions of a disabled account. Every server finds the revocations by its sweep,
-- closes the connections and stops using cached sessions (ACL2). Sessions that have ended by themselves
-- need no revocation, and a user of many connections has thousands of them.
create or replace function revoke_sessions_of_disabled() returns trigger language plpgsql as $$
begin
  update sessions set revoked_at = now(), xid = pg_current_xact_id()
   where user_id = new.id and expires_at > now() and revoked_at is null;
  return null;
end $$;
