/**
 * Describes the presence of a person in words. Returns a space while the presence is unknown, so
 * that the line keeps its height.
 */
import type { Presence } from '@chorus/client'
import { formatLastSeen } from '../time/format-time.ts'

export function describePresence(presence: Presence | undefined, now: Date): string {
  switch (presence?.status) {
    case 'online':
      return 'Online'
    case 'away':
      return 'Away'
    case 'offline':
      return formatLastSeen(presence.lastSeen, { now })
    case 'unknown':
    case undefined:
      return ' '
  }
}
