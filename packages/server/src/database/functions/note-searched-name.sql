create or replace function note_searched_name(p_owner uuid, p_is_channel boolean, p_name text) returns void
language plpgsql volatile as $$
begin
  insert into searched_names as s (owner, is_channel, name) values (p_owner, p_is_channel, p_name)
    on conflict (owner) do update set name = excluded.name, folded = null where s.name is distinct from excluded.name;
end $$;
