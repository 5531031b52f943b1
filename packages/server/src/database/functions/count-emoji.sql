-- Counts the different emoji of a message, up to p_max, with one look-up for each emoji.
create or replace function count_emoji(p_conversation uuid, p_target bigint, p_max integer) returns bigint language sql stable as $$
  with recursive kinds as (
    (select emoji, 1 as n from reactions
      where conversation = p_conversation and target = p_target and not removed order by emoji limit 1)
    union all
    select (select r.emoji from reactions r
             where r.conversation = p_conversation and r.target = p_target and not r.removed and r.emoji > kinds.emoji
             order by r.emoji limit 1), n + 1
      from kinds where emoji is not null and n < p_max)
  select count(emoji) from kinds;
$$;
