-- Returns owners of names that contain a part starting with p_text; an owner may be returned
-- several times. p_end sorts after every such part. Stops at p_max entries, which a plan that sorts
-- first would not.
create or replace function find_name_parts(p_text text, p_end text, p_max integer) returns setof uuid
language plpgsql stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
  return query select p.owner from name_parts p where p.part >= p_text and p.part < p_end order by p.part, p.owner limit p_max;
end $$;
