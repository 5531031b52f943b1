create or replace function channel_named() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    perform drop_searched_name(old.id);
  elsif new.name is not null then
    perform note_searched_name(new.id, true, new.name);
  end if;
  return null;
end $$;
