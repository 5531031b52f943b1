-- Who was removed since a seq: asked with every read that fills a gap (docs/spec.md, ACL1).
create index members_left on members (conversation, left_seq) where left_seq is not null;
