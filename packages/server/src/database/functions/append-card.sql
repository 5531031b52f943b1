-- Appends a message with a card, gives a card its next version, or stores an act on a card. Called
-- by append_op under the conversation's lock, so of several acts on one version only the first is
-- stored (CARD1). Cards are texts in p_op: jsonb would change the order of their fields.
create or replace function append_card(p_idx integer, p_op jsonb) returns appended language plpgsql volatile as $$
declare
  result appended;
  v_op text := p_op ->> 'op';
  v_conversation uuid := (p_op ->> 'conversation')::uuid;
  v_actor uuid := (p_op ->> 'actor')::uuid;
  v_target bigint := (p_op ->> 'target')::bigint;
  v_client_id uuid := (p_op ->> 'clientId')::uuid;
  v_hash bytea := decode(p_op ->> 'hash', 'hex');
  v_new json := (p_op ->> 'card')::json;
  v_first record;
  v_message record;
  v_action jsonb;
begin
  result.kind := 'o';
  result.idx := p_idx;
  result.outcome := 'stored';
  result.xid := pg_current_xact_id();

  -- Check for duplicates before access: a retry after the removal still gets the first result
  -- (IDEM1).
  if v_client_id is not null then
    select seq, at, request_hash into v_first from changes
     where actor = v_actor and conversation = v_conversation and client_id = v_client_id;
    if found then
      result.outcome := case when v_first.request_hash = v_hash then 'unchanged' else 'conflict' end;
      result.seq := v_first.seq;
      result.at := v_first.at;
      if result.outcome = 'unchanged' and v_op = 'send-card' then
        result.detail := message_detail(v_conversation, v_first.seq);
      end if;
      return result;
    end if;
  end if;
  if (v_op = 'send-card' and v_new is null) or not exists (
    select from members where conversation = v_conversation and user_id = v_actor and left_seq is null
  ) then
    result.outcome := 'not-found';
    return result;
  end if;

  if v_op = 'send-card' then
    select n.o_seq, n.o_at into result.seq, result.at from next_seq(v_conversation) n;
    update conversations set last_message_seq = result.seq where id = v_conversation;
    insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text, data, card)
      values (v_conversation, result.seq, result.at, 'message.created', v_actor, v_client_id, v_hash, result.seq,
              p_op ->> 'text', (p_op ->> 'data')::json, v_new);
    result.detail := message_detail(v_conversation, result.seq);
    return result;
  end if;

  select * into v_message from changes
   where conversation = v_conversation and seq = v_target and type = 'message.created' and deleted_at is null
     and card is not null;
  if not found then
    result.outcome := 'not-found';
    return result;
  end if;

  if v_op = 'update-card' then
    -- A repeated change is done already, whatever its signature.
    if v_message.card::jsonb - '{acted,jws}'::text[] = v_new::jsonb - '{acted,jws}'::text[] then
      result.outcome := 'unchanged';
      result.seq := v_message.version;
      result.detail := message_detail(v_conversation, v_target);
      return result;
    end if;
    -- p_op.version is the version that the server has read and completed the new card from.
    if (v_message.card ->> 'version')::bigint <> (p_op ->> 'version')::bigint
       or (v_message.card ->> 'version')::bigint + 1 <> (v_new ->> 'version')::bigint then
      result.outcome := 'stale';
      result.detail := message_detail(v_conversation, v_target);
      return result;
    end if;
    select n.o_seq, n.o_at into result.seq, result.at from next_seq(v_conversation) n;
    update changes set card = v_new, version = result.seq where conversation = v_conversation and seq = v_target;
    insert into changes (conversation, seq, at, type, actor, target)
      values (v_conversation, result.seq, result.at, 'card.updated', v_actor, v_target);
    result.detail := message_detail(v_conversation, v_target);
    return result;
  end if;

  if (v_message.card ->> 'version')::bigint <> (p_op ->> 'version')::bigint
     or json_typeof(v_message.card -> 'acted') = 'object' then
    result.outcome := 'stale';
    result.detail := message_detail(v_conversation, v_target);
    return result;
  end if;
  select a into v_action from jsonb_array_elements((v_message.card -> 'actions')::jsonb) a
   where a ->> 'id' = p_op ->> 'action';
  if not found then
    result.outcome := 'not-found';
    return result;
  end if;
  if v_action ? 'by' and not (v_action -> 'by') ? v_actor::text then
    result.outcome := 'forbidden';
    return result;
  end if;
  select n.o_seq, n.o_at into result.seq, result.at from next_seq(v_conversation) n;
  update changes set card = json_build_object(
           'version', card -> 'version', 'type', card -> 'type', 'title', card -> 'title', 'fields', card -> 'fields',
           'actions', card -> 'actions', 'state', card -> 'state',
           'acted', json_build_object('seq', result.seq, 'action', p_op ->> 'action', 'actor', v_actor),
           'jws', card -> 'jws')
   where conversation = v_conversation and seq = v_target;
  insert into changes (conversation, seq, at, type, actor, target, client_id, request_hash, action)
    values (v_conversation, result.seq, result.at, 'card.acted', v_actor, v_target, v_client_id, v_hash, p_op ->> 'action');
  return result;
end $$;
