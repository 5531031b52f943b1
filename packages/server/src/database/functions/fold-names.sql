-- Stores the folded form of names, unless a name has changed since it was read. Returns the number
-- of stored folds.
create or replace function fold_names(p_owner uuid[], p_name text[], p_folded text[]) returns integer
language plpgsql volatile
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_name record;
  v_is_channel boolean;
  v_count integer := 0;
begin
  for v_name in
    select u.owner, u.name, u.folded from unnest(p_owner, p_name, p_folded) u(owner, name, folded) order by u.owner
  loop
    update searched_names s set folded = v_name.folded where s.owner = v_name.owner and s.name = v_name.name
      returning s.is_channel into v_is_channel;
    continue when not found;
    v_count := v_count + 1;
    if v_is_channel then
      delete from name_parts p where p.owner = v_name.owner;
      insert into name_parts (part, owner)
        select distinct substr(v_name.folded, i), v_name.owner from generate_series(1, char_length(v_name.folded)) i;
    end if;
  end loop;
  return v_count;
end $$;
