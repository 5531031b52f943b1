-- Appends a batch of one send, in the same steps and order as append_changes. An idle server stores
-- most messages so. Without arrays to unnest and to aggregate, the call takes half the time.
create or replace function append_send(
  p_conversation uuid, p_actor uuid, p_client_id uuid, p_hash bytea, p_text text, p_data json, p_reply_to bigint
) returns appended
language plpgsql volatile
-- Force look-ups by key: a plan made while the log was empty would read all of it for every
-- message.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_seq bigint;
  v_at timestamptz;
  v_hash bytea;
  v_outcome text;
  v_top_seq bigint;
  v_top_at timestamptz;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'append_send needs read committed';
  end if;

  select seq, last_at into v_top_seq, v_top_at from conversations where id = p_conversation for update;

  select c.seq, c.at, c.request_hash into v_seq, v_at, v_hash from changes c
    where c.actor = p_actor and c.conversation = p_conversation and c.client_id = p_client_id;
  if v_seq is not null then
    v_outcome := case when v_hash = p_hash then 'duplicate' else 'conflict' end;
  elsif not exists (
    select from members where conversation = p_conversation and user_id = p_actor and left_seq is null
  ) then
    v_outcome := 'not-found';
  elsif p_reply_to is not null and not exists (
    select from changes where conversation = p_conversation and seq = p_reply_to and type = 'message.created'
  ) then
    v_outcome := 'invalid-reply';
  else
    v_outcome := 'stored';
    v_seq := v_top_seq + 1;
    v_at := greatest(v_top_at, clock_timestamp());
    insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text, data, reply_to)
      values (p_conversation, v_seq, v_at, 'message.created', p_actor, p_client_id, p_hash, v_seq, p_text, p_data, p_reply_to);
    update conversations set seq = v_seq, last_message_seq = v_seq, last_xid = pg_current_xact_id(), last_at = v_at
      where id = p_conversation;
  end if;
  return ('s'::text, 1, v_outcome, v_seq, v_at, pg_current_xact_id(), null::json);
end $$;
