create or replace function drop_searched_name(p_owner uuid) returns void language plpgsql volatile as $$
begin
  delete from searched_names where owner = p_owner;
  delete from name_parts where owner = p_owner;
end $$;
