create or replace function message_detail(p_conversation uuid, p_seq bigint) returns json language sql stable as $$
  select json_build_object(
    'version', version, 'client_id', client_id, 'sender', actor, 'text', text, 'data', data, 'attachments', attachments,
    'reply_to', reply_to, 'created_at', at, 'edited_at', edited_at, 'deleted_at', deleted_at)
  from changes where conversation = p_conversation and seq = p_seq;
$$;
