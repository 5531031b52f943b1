-- Adds the changes of one statement to the counts. A row that reaches zero is deleted, so that the
-- next reaction starts a new one.
create or replace function add_reaction_counts(
  p_conversation uuid[], p_target bigint[], p_emoji text[], p_step integer[], p_seq bigint[]
) returns void
language plpgsql volatile
-- Force look-ups by key, also without statistics of the tables.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_step record;
begin
  for v_step in
    select u.conversation, u.target, u.emoji, sum(u.step)::integer as step, min(u.seq) as seq
      from unnest(p_conversation, p_target, p_emoji, p_step, p_seq) u(conversation, target, emoji, step, seq)
     group by u.conversation, u.target, u.emoji
  loop
    continue when v_step.step = 0;
    if v_step.step > 0 then
      insert into reaction_counts as c (conversation, target, emoji, n, first_seq)
        values (v_step.conversation, v_step.target, v_step.emoji, v_step.step, v_step.seq)
        on conflict (conversation, target, emoji) do update set n = c.n + excluded.n;
    else
      delete from reaction_counts c
       where c.conversation = v_step.conversation and c.target = v_step.target and c.emoji = v_step.emoji
         and c.n <= -v_step.step;
      if not found then
        update reaction_counts c set n = c.n + v_step.step
         where c.conversation = v_step.conversation and c.target = v_step.target and c.emoji = v_step.emoji;
      end if;
    end if;
  end loop;
end $$;
