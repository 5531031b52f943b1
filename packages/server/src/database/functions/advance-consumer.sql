-- Stores that a page (rows as arrays) was processed. Returns false if another server has the lease;
-- then nothing is stored.
create or replace function advance_consumer(
  p_name text, p_token bigint, p_position bigint, p_conversation uuid[], p_seq bigint[], p_xid bigint[]
) returns boolean language plpgsql volatile as $$
begin
  update consumers set position = greatest(position, p_position) where name = p_name and token = p_token;
  if not found then return false; end if;
  insert into consumer_progress (consumer, conversation, seq, xid)
    select p_name, r.conversation, max(r.seq), max(r.xid)
      from unnest(p_conversation, p_seq, p_xid) r(conversation, seq, xid) group by r.conversation
    on conflict (consumer, conversation) do update
      set seq = greatest(consumer_progress.seq, excluded.seq), xid = greatest(consumer_progress.xid, excluded.xid);
  delete from consumer_progress where consumer = p_name and xid < p_position;
  return true;
end $$;
