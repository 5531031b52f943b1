-- Appends a batch to the log: locks the conversations in order, looks up duplicates, checks
-- membership, assigns numbers and stores the rows. Returns one row for all sends and one row for
-- each other operation. A batch contains each clientId once: the server keeps a second one for the
-- next batch, where it finds the first as a duplicate. If there were two, the unique key would
-- refuse the batch, and the server would run it again row by row.
create or replace function append_changes(
  p_conversation uuid[], p_actor uuid[], p_client_id uuid[], p_hash bytea[], p_text text[], p_data json[],
  p_attachments text[], p_reply_to bigint[], p_ops jsonb
) returns setof appended
language plpgsql volatile
-- Force nested loops over indexes: they are right for every batch, also without statistics of the
-- tables.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_material = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_count integer := coalesce(array_length(p_conversation, 1), 0);
  v_seq bigint[];
  v_at timestamptz[];
  v_outcome text[];
  v_now timestamptz;
  v_top record;
  v_op jsonb;
  v_idx integer := 0;
begin
  -- Under repeatable read, the checks below would see a snapshot from before the lock, so a removed
  -- member could send.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'append_changes needs read committed';
  end if;

  perform from conversations
    where id = any (p_conversation || array(select (o ->> 'conversation')::uuid from jsonb_array_elements(p_ops) o))
    order by id for update;

  if v_count > 0 then
    v_now := clock_timestamp();
    -- Keep outcome, number and time of each row in arrays: a join of two results of the batch would
    -- be a nested loop, quadratic in the size of the batch.
    select array_agg(n.outcome), array_agg(n.seq), array_agg(n.at)
      into v_outcome, v_seq, v_at
      from (
        select o.outcome,
               case when o.outcome = 'stored'
                 then k.seq + count(*) filter (where o.outcome = 'stored') over (partition by o.conversation order by o.i)
                 else o.seq end as seq,
               case when o.outcome = 'stored' then greatest(k.last_at, v_now) else o.at end as at
          from (
            select u.conversation, u.i, d.seq, d.at,
                   case
                     -- Check for duplicates before access: a retry after the removal still gets the
                     -- first result (IDEM1).
                     when d.seq is not null then case when d.request_hash = u.hash then 'duplicate' else 'conflict' end
                     when m.user_id is null then 'not-found'
                     when u.reply_to is not null and not exists (
                       select from changes t
                        where t.conversation = u.conversation and t.seq = u.reply_to and t.type = 'message.created')
                       then 'invalid-reply'
                     else 'stored'
                   end as outcome
              from unnest(p_conversation, p_actor, p_client_id, p_hash, p_reply_to) with ordinality
                u(conversation, actor, client_id, hash, reply_to, i)
              -- LIMIT forces a look-up by key. As a join, a plan made while the tables were small
              -- would read a whole index for every batch.
              left join lateral (select c.seq, c.at, c.request_hash from changes c
                where c.actor = u.actor and c.conversation = u.conversation and c.client_id = u.client_id limit 1) d on true
              left join lateral (select s.user_id from members s
                where s.conversation = u.conversation and s.user_id = u.actor and s.left_seq is null limit 1) m on true
          ) o
          left join lateral (select c.seq, c.last_at from conversations c where c.id = o.conversation limit 1) k on true
         order by o.i
      ) n;

    insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text, data, attachments, reply_to)
    select u.conversation, u.seq, u.at, 'message.created', u.actor, u.client_id, u.hash, u.seq, u.text, u.data,
           u.attachments::uuid[], u.reply_to
      from unnest(p_conversation, p_actor, p_client_id, p_hash, p_text, p_data, p_attachments, p_reply_to, v_outcome, v_seq, v_at)
        u(conversation, actor, client_id, hash, text, data, attachments, reply_to, outcome, seq, at)
     where u.outcome = 'stored';

    -- Update one by one, each by a look-up by key. As a join, a plan made while the table was small
    -- would read all conversations for every batch.
    for v_top in
      select u.conversation, max(u.seq) as seq, max(u.at) as at
        from unnest(p_conversation, v_outcome, v_seq, v_at) u(conversation, outcome, seq, at)
       where u.outcome = 'stored' group by u.conversation
    loop
      update conversations set seq = v_top.seq, last_message_seq = v_top.seq, last_xid = pg_current_xact_id(), last_at = v_top.at
       where id = v_top.conversation;
    end loop;

    -- Kind 'S' is the row of all sends; idx is their number. The arrays are null when all were
    -- stored, at the same time.
    return query
    select 'S'::text, v_count, null::text, null::bigint, v_now, pg_current_xact_id(), json_build_object(
      'outcome', case when array_remove(v_outcome, 'stored') <> '{}' then v_outcome end,
      'seq', v_seq,
      'at', case when array_remove(v_at, v_now) <> '{}' then v_at end);
  end if;

  for v_op in select value from jsonb_array_elements(p_ops) loop
    v_idx := v_idx + 1;
    return next append_op(v_idx, v_op);
  end loop;
end $$;
