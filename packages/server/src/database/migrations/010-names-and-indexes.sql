-- Handles and names are compared alike whatever the database's locale (docs/spec.md, NAME1), and what users list and search
-- is found by indexes.

-- Handles: A to Z only. Under collation C, lower() folds nothing else.
do $$
declare
  v_twice text;
begin
  select string_agg(t.handles, '; ') into v_twice from (
    select string_agg(handle, ' and ' order by created_at) as handles
      from users group by lower(handle collate "C") having count(*) > 1 limit 5) t;
  if v_twice is not null then
    raise exception 'handles that differ only in case belong to several accounts (%); change all but one of each', v_twice;
  end if;
end $$;
create unique index users_handle_ascii on users (lower(handle collate "C"));
-- Those who can be found: not disabled, and no canary.
create index users_people on users (lower(handle collate "C")) where disabled_at is null and handle not like ' %';

-- Current memberships alone: those that ended stay in the table.
create index members_current on members (user_id, conversation) where left_seq is null;

-- What jobs ask for without a key: is there anybody who wants digests, and what waits for an endpoint.
create index notification_settings_readers on notification_settings (user_id) where digest and confirmed_at is not null;
create index webhook_deliveries_alive on webhook_deliveries (endpoint) where dead_at is null;
create index webhook_lanes_endpoint_due on webhook_lanes (endpoint, due_at);

-- The names that can be searched for: of people, and of channels. Servers fold them, because no fold of Postgres is the same
-- in every locale; a name that a server of the version before stored waits here, unfolded, for one that can.
create table searched_names (
  owner uuid primary key,
  is_channel boolean not null,
  name text not null,
  -- Null: not folded yet.
  folded text collate "C"
);
create index searched_names_folded on searched_names (is_channel, folded, owner) where folded is not null;
create index searched_names_unfolded on searched_names (owner) where folded is null;

-- Every end of a channel's folded name, so that "contains" is a walk along an index that stops at its limit.
create table name_parts (
  part text collate "C" not null,
  owner uuid not null,
  primary key (part, owner)
);
create index name_parts_owner on name_parts (owner);

-- Owners of names that have this text in them, each perhaps several times: p_end is behind every part that begins with p_text.
-- Stops at p_max entries. A plan that gathers and sorts first would read all of them.
create function find_name_parts(p_text text, p_end text, p_max integer) returns setof uuid
language plpgsql stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
  return query select p.owner from name_parts p where p.part >= p_text and p.part < p_end order by p.part, p.owner limit p_max;
end $$;

create function note_searched_name(p_owner uuid, p_is_channel boolean, p_name text) returns void
language plpgsql volatile as $$
begin
  insert into searched_names as s (owner, is_channel, name) values (p_owner, p_is_channel, p_name)
    on conflict (owner) do update set name = excluded.name, folded = null where s.name is distinct from excluded.name;
end $$;

create function drop_searched_name(p_owner uuid) returns void language plpgsql volatile as $$
begin
  delete from searched_names where owner = p_owner;
  delete from name_parts where owner = p_owner;
end $$;

create function channel_named() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    perform drop_searched_name(old.id);
  elsif new.name is not null then
    perform note_searched_name(new.id, true, new.name);
  end if;
  return null;
end $$;
create trigger conversations_named after insert on conversations
  for each row when (new.kind = 'channel') execute function channel_named();
create trigger conversations_renamed after update of name on conversations
  for each row when (new.kind = 'channel') execute function channel_named();
create trigger conversations_gone after delete on conversations
  for each row when (old.kind = 'channel') execute function channel_named();

create function user_named() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    perform drop_searched_name(old.id);
  elsif new.disabled_at is not null or new.handle like ' %' then
    perform drop_searched_name(new.id);
  else
    perform note_searched_name(new.id, false, new.name);
  end if;
  return null;
end $$;
create trigger users_named after insert or update of name, handle, disabled_at or delete on users
  for each row execute function user_named();

-- Stores folds of these names, unless a name has changed since it was read; how many.
create function fold_names(p_owner uuid[], p_name text[], p_folded text[]) returns integer
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

insert into searched_names (owner, is_channel, name)
  select id, false, name from users where disabled_at is null and handle not like ' %';
insert into searched_names (owner, is_channel, name)
  select id, true, name from conversations where kind = 'channel' and name is not null;
