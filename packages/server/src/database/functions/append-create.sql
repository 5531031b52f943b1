-- Creates a conversation with all its members. p_op is as for append_op, with clientId and hash
-- (hex) or null.
create or replace function append_create(p_idx integer, p_op jsonb) returns appended
language plpgsql volatile
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  result appended;
  v_conversation uuid := (p_op ->> 'conversation')::uuid;
  v_actor uuid := (p_op ->> 'actor')::uuid;
  v_client_id uuid := (p_op ->> 'clientId')::uuid;
  v_hash bytea := decode(p_op ->> 'hash', 'hex');
  v_members uuid[] := array(
    select m.value::uuid from jsonb_array_elements_text(p_op -> 'members') with ordinality m(value, n) order by m.n);
  v_count integer := cardinality(v_members);
  v_at timestamptz;
  v_known record;
begin
  result.kind := 'o';
  result.idx := p_idx;
  result.outcome := 'stored';
  result.xid := pg_current_xact_id();

  insert into conversations (id, kind, name, direct_key, creator, client_id, request_hash, seq, member_version, member_count,
                             subject_type, subject_id, subject_title, subject_url, subject_data)
    values (v_conversation, p_op ->> 'kind', p_op ->> 'name', p_op ->> 'directKey',
            case when v_client_id is not null then v_actor end, v_client_id, v_hash, v_count + 1, v_count + 1, v_count,
            p_op -> 'subject' ->> 'type', p_op -> 'subject' ->> 'id', p_op -> 'subject' ->> 'title',
            p_op -> 'subject' ->> 'url', (nullif(p_op -> 'subject' -> 'data', 'null'))::json)
    on conflict do nothing
    returning last_at into v_at;
  if not found then
    -- IDEM2: the request was repeated. Otherwise the pair or the subject has a conversation,
    -- or this retries a
    -- commit whose response was lost.
    select id, seq, request_hash into v_known
      from conversations where creator = v_actor and client_id = v_client_id;
    if found and v_known.request_hash <> v_hash then
      result.outcome := 'conflict';
      return result;
    elsif not found then
      select id, seq into v_known from conversations where id = v_conversation;
    end if;
    if not found then
      select id, seq into v_known from conversations where direct_key = p_op ->> 'directKey';
    end if;
    if not found then
      select id, seq into v_known from conversations
       where subject_type = p_op -> 'subject' ->> 'type' and subject_id = p_op -> 'subject' ->> 'id';
    end if;
    result.seq := v_known.seq;
    result.detail := json_build_object('conversation', v_known.id);
    result.outcome := 'unchanged';
    return result;
  end if;

  -- Locked, so that an erasure which begins now finds the new memberships (ERASE2).
  if (select count(*) from (
        select from users where id = any (v_members) and disabled_at is null and erasing_since is null for key share) u
     ) < v_count then
    delete from conversations where id = v_conversation;
    result.outcome := 'not-found';
    return result;
  end if;
  if exists (
    select from unnest(v_members) named(id) where has_memberships(named.id, (p_op ->> 'conversationsMax')::bigint)) then
    delete from conversations where id = v_conversation;
    result.outcome := 'too-large';
    return result;
  end if;

  insert into changes (conversation, seq, at, type, actor, name)
    values (v_conversation, 1, v_at, 'conversation.created', v_actor, p_op ->> 'name');
  insert into changes (conversation, seq, at, type, actor, user_id, role)
    select v_conversation, named.n + 1, v_at, 'member.joined', v_actor, named.id,
           case when named.id = v_actor and p_op ->> 'kind' <> 'direct' then 'owner' else 'member' end
      from unnest(v_members) with ordinality named(id, n);
  insert into members (conversation, user_id, role, joined_seq, read_seq)
    select v_conversation, named.id,
           case when named.id = v_actor and p_op ->> 'kind' <> 'direct' then 'owner' else 'member' end,
           named.n + 1, named.n + 1
      from unnest(v_members) with ordinality named(id, n);
  result.seq := v_count + 1;
  result.at := v_at;
  result.detail := json_build_object('conversation', v_conversation);
  return result;
end $$;
