-- Returns the columns of a message. Generated from packages/protocol/src/objects/message.ts by
-- npm run docs. Do not edit.
create or replace function message_detail(p_conversation uuid, p_seq bigint) returns json language sql stable as $$
  select json_build_object(
    'version', version,
    'client_id', client_id,
    'sender', actor,
    'text', text,
    'reply_to', reply_to,
    'attachments', attachments,
    'data', data,
    'created_at', at,
    'edited_at', edited_at,
    'deleted_at', deleted_at,
    'card', card)
  from changes where conversation = p_conversation and seq = p_seq;
$$;
