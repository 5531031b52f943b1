create or replace function user_named() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    perform drop_searched_name(old.id);
  elsif new.disabled_at is not null or new.erasing_since is not null or new.handle like ' %' then
    perform drop_searched_name(new.id);
  else
    perform note_searched_name(new.id, false, new.name);
  end if;
  return null;
end $$;
