create or replace function member_detail(p_conversation uuid, p_user uuid) returns json language sql stable as $$
  select json_build_object(
    'user', json_build_object('id', u.id, 'handle', u.handle, 'name', u.name, 'avatar', u.avatar, 'bot', u.bot),
    'role', m.role, 'joinedSeq', m.joined_seq, 'readSeq', m.read_seq)
  from members m join users u on u.id = m.user_id where m.conversation = p_conversation and m.user_id = p_user;
$$;
