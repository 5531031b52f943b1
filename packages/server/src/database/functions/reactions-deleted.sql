create or replace function reactions_deleted() returns trigger language plpgsql as $$
begin
  perform add_reaction_counts(
    array_agg(d.conversation), array_agg(d.target), array_agg(d.emoji), array_agg(-1), array_agg(d.seq))
    from dropped d where not d.removed having count(*) > 0;
  return null;
end $$;
