-- Starts a consumer at a position; null keeps its current position. Returns false if another server
-- has the lease.
create or replace function begin_consumer(p_name text, p_token bigint, p_history text, p_position bigint)
returns boolean language plpgsql volatile as $$
begin
  update consumers set history = p_history, position = coalesce(p_position, position) where name = p_name and token = p_token;
  if not found then return false; end if;
  delete from consumer_progress where consumer = p_name and p_position is not null;
  return true;
end $$;
