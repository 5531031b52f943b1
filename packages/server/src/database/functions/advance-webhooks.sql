-- Processes a page of the log for webhooks: stores the deliveries of each endpoint together with
-- the new position. Returns the lanes with deliveries. Returns one row of nulls if the lease is
-- lost.
create or replace function advance_webhooks(
  p_token bigint, p_position bigint, p_conversation uuid[], p_seq bigint[], p_xid bigint[], p_history_tag text
) returns table (endpoint uuid, conversation uuid) language plpgsql volatile as $$
declare
  v_position bigint;
  v_endpoint uuid[];
  v_conversation uuid[];
  v_seq bigint[];
  v_event_id text[];
begin
  select position into v_position from consumers where name = 'webhooks' and token = p_token for update;
  if not found then
    return query select null::uuid, null::uuid;
    return;
  end if;
  -- Skip changes that are already processed: a page is stored again when its first response was
  -- lost.
  select array_agg(e.id), array_agg(c.conversation), array_agg(c.seq),
         array_agg(p_history_tag || '.' || c.conversation || '.' || c.seq)
    into v_endpoint, v_conversation, v_seq, v_event_id
    from unnest(p_conversation, p_seq) r(conversation, seq)
    join changes c on c.conversation = r.conversation and c.seq = r.seq
    join webhook_endpoints e on e.enabled and (e.types is null or c.type = any (e.types)) and c.at >= e.created_at
   where c.type <> 'skip' and c.xid >= v_position::text::xid8
     -- Messages of the canary are not delivered.
     and c.conversation is distinct from (select (s.value::json ->> 'conversation')::uuid from settings s where s.key = 'canary')
     and c.seq > coalesce((select p.seq from consumer_progress p
                            where p.consumer = 'webhooks' and p.conversation = c.conversation), 0);
  perform advance_consumer('webhooks', p_token, p_position, p_conversation, p_seq, p_xid);
  if v_endpoint is null then return; end if;
  perform queue_deliveries(v_endpoint, v_conversation, v_seq, v_event_id);
  return query select distinct d.endpoint, d.conversation from unnest(v_endpoint, v_conversation) d(endpoint, conversation);
end $$;
