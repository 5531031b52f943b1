/** How servers read the changes of a conversation, by the names of their prepared statements: what storms are counted by (rule LIM2). */
export const readsOfChanges: readonly string[] = [
  'read_range',
  'read_gap',
  'read_log_stretch',
  'read_missed',
  'read_boundary',
  'read_newest_changes',
  'read_newest_pages',
  'read_changes_for_member',
]
