-- How many chose each emoji of a message, in one row, so that a page costs the same however many there are. Kept by triggers,
-- because servers of the version before write reactions, too. Both are written under the conversation's lock.

create table reaction_counts (
  conversation uuid not null,
  target bigint not null,
  emoji text not null,
  n integer not null,
  -- Seq of the reaction that began this row: the order in which a message shows its emoji.
  first_seq bigint not null,
  primary key (conversation, target, emoji)
) with (fillfactor = 70);

-- Adds what one statement changed; a row that comes to zero goes, so that the next reaction begins a new one.
create function add_reaction_counts(
  p_conversation uuid[], p_target bigint[], p_emoji text[], p_step integer[], p_seq bigint[]
) returns void
language plpgsql volatile
-- Look-ups by key, whatever the statistics say.
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

create function reactions_inserted() returns trigger language plpgsql as $$
begin
  perform add_reaction_counts(
    array_agg(a.conversation), array_agg(a.target), array_agg(a.emoji), array_agg(1), array_agg(a.seq))
    from added a where not a.removed having count(*) > 0;
  return null;
end $$;
create trigger reactions_inserted after insert on reactions
  referencing new table as added for each statement execute function reactions_inserted();

create function reactions_updated() returns trigger language plpgsql as $$
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
create trigger reactions_updated after update on reactions
  referencing old table as dropped new table as added for each statement execute function reactions_updated();

create function reactions_deleted() returns trigger language plpgsql as $$
begin
  perform add_reaction_counts(
    array_agg(d.conversation), array_agg(d.target), array_agg(d.emoji), array_agg(-1), array_agg(d.seq))
    from dropped d where not d.removed having count(*) > 0;
  return null;
end $$;
create trigger reactions_deleted after delete on reactions
  referencing old table as dropped for each statement execute function reactions_deleted();

-- The triggers hold back those who write until this is committed.
insert into reaction_counts (conversation, target, emoji, n, first_seq)
  select conversation, target, emoji, count(*), min(seq) from reactions where not removed group by conversation, target, emoji;
