-- Makes deliveries due. Locks the lanes, so that a worker that finds its lane empty and removes it
-- sees these rows, or the lane is created again.
create or replace function queue_deliveries(p_endpoint uuid[], p_conversation uuid[], p_seq bigint[], p_event_id text[])
returns void language plpgsql volatile as $$
begin
  insert into webhook_deliveries (endpoint, conversation, seq, event_id)
    select d.endpoint, d.conversation, d.seq, d.event_id
      from unnest(p_endpoint, p_conversation, p_seq, p_event_id) d(endpoint, conversation, seq, event_id)
      join webhook_endpoints e on e.id = d.endpoint
     order by d.endpoint, d.conversation, d.seq
    on conflict (endpoint, conversation, seq) do update
      set dead_at = null, attempts = 0, first_attempt_at = null, event_id = excluded.event_id
      where webhook_deliveries.dead_at is not null;
  insert into webhook_lanes (endpoint, conversation)
    select distinct d.endpoint, d.conversation from unnest(p_endpoint, p_conversation) d(endpoint, conversation)
      join webhook_endpoints e on e.id = d.endpoint
     order by 1, 2
    on conflict (endpoint, conversation) do update set due_at = webhook_lanes.due_at;
end $$;
