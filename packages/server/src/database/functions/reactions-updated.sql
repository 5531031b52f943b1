create or replace function reactions_updated() returns trigger language plpgsql as $$
begin
  perform add_reaction_counts(
    array_agg(s.conversation), array_agg(s.target), array_agg(s.emoji), array_agg(s.step), array_agg(s.seq))
    from (
      select a.conversation, a.target, a.emoji, 1 as step, a.seq from added a where not a.removed
      union all
      select d.conversation, d.target, d.emoji, -1, d.seq from dropped d where not d.removed) s
  having count(*) > 0;
  return null;
end $$;
