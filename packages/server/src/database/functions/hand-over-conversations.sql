-- Gives the conversations of a disabled account to other owners. Locks each conversation even if it
-- has another owner, because that owner may be leaving.
create or replace function hand_over_conversations() returns trigger language plpgsql as $$
declare
  v_conversation uuid;
begin
  for v_conversation in
    select conversation from members where user_id = new.id and role = 'owner' and left_seq is null order by conversation
  loop
    perform from conversations where id = v_conversation for update;
    perform ensure_owner(v_conversation, new.id);
  end loop;
  return null;
end $$;
