/**
 * Names of the prepared statements with which servers read the changes of a conversation. Tests
 * count the executions of these statements while many clients reconnect at once (rule LIM2).
 */
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
