create or replace function reactions_inserted() returns trigger language plpgsql as $$
begin
  perform add_reaction_counts(
    array_agg(a.conversation), array_agg(a.target), array_agg(a.emoji), array_agg(1), array_agg(a.seq))
    from added a where not a.removed having count(*) > 0;
  return null;
end $$;
