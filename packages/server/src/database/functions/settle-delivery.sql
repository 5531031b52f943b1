-- Stores the outcome of one attempt, for the worker that holds the lane.
--   'delivered': deletes the row · 'retry': due again after p_delay_ms, and the lane waits until
--     then
--   'dead': keeps the row as a dead letter, and the lane continues
-- Returns 'more' (the claim is extended by p_lease_ms), 'wait', 'idle' (the lane is removed) or
-- 'lost' (another worker has the lane).
create or replace function settle_delivery(
  p_endpoint uuid, p_conversation uuid, p_claim uuid, p_seq bigint, p_outcome text, p_status integer, p_error text,
  p_delay_ms double precision, p_lease_ms double precision
) returns text language plpgsql volatile as $$
declare
  v_claim uuid;
begin
  select l.claim into v_claim from webhook_lanes l
   where l.endpoint = p_endpoint and l.conversation = p_conversation for update;
  if v_claim is distinct from p_claim then return 'lost'; end if;

  if p_outcome = 'delivered' then
    delete from webhook_deliveries d where d.endpoint = p_endpoint and d.conversation = p_conversation and d.seq = p_seq;
    -- The endpoint has many lanes but one row, so write it only when it changes.
    update webhook_endpoints set failing_since = null, delivered_at = clock_timestamp()
     where id = p_endpoint
       and (failing_since is not null or delivered_at is null or delivered_at < clock_timestamp() - interval '1 minute');
  else
    update webhook_deliveries d
       set attempts = d.attempts + 1, first_attempt_at = coalesce(d.first_attempt_at, clock_timestamp()),
           last_status = p_status, last_error = p_error,
           dead_at = case when p_outcome = 'dead' then clock_timestamp() end
     where d.endpoint = p_endpoint and d.conversation = p_conversation and d.seq = p_seq;
    update webhook_endpoints set failing_since = clock_timestamp() where id = p_endpoint and failing_since is null;
  end if;

  if p_outcome = 'retry' then
    update webhook_lanes l
       set claim = null, claimed_until = null, due_at = clock_timestamp() + p_delay_ms * interval '1 millisecond', queued_at = null
     where l.endpoint = p_endpoint and l.conversation = p_conversation;
    return 'wait';
  end if;
  if exists (select from webhook_deliveries d
              where d.endpoint = p_endpoint and d.conversation = p_conversation and d.dead_at is null) then
    update webhook_lanes l set claimed_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
     where l.endpoint = p_endpoint and l.conversation = p_conversation;
    return 'more';
  end if;
  delete from webhook_lanes l where l.endpoint = p_endpoint and l.conversation = p_conversation;
  return 'idle';
end $$;
