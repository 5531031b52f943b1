-- Returns the next seq of a locked conversation, and its time.
create or replace function next_seq(p_conversation uuid, out o_seq bigint, out o_at timestamptz) language sql volatile as $$
  update conversations
     set seq = seq + 1, last_xid = pg_current_xact_id(), last_at = greatest(last_at, clock_timestamp())
   where id = p_conversation
  returning seq, last_at;
$$;
