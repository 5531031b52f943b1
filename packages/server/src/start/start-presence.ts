/**
 * Starts presence: of the users connected to this server and, over Redis, of the users at the other
 * servers.
 */
import type { Presence } from '@chorus/protocol'
import { LastSeenWriter, readLastSeen } from '../accounts/last-seen.ts'
import type { Bus } from '../bus/bus.ts'
import type { Connection } from '../delivery/connection.ts'
import { frameOf } from '../frames/frame.ts'
import { localOnlyPresence } from '../live/presence-store.ts'
import { RedisPresenceStore } from '../live/presence-store-redis.ts'
import { PresenceTracker } from '../live/presence-tracker.ts'
import type { StartContext } from './start-context.ts'
import type { RedisParts } from './start-redis.ts'
import type { Store } from './start-store.ts'

export interface PresenceParts {
  readonly presences: PresenceTracker<Connection>
  /** Shared presence store. Undefined on a single server. */
  readonly presenceStore: RedisPresenceStore | undefined
  readonly lastSeen: LastSeenWriter
}

export function openPresence(
  { logger, clock, metrics, bootId }: StartContext,
  { database, time }: Store,
  redisParts: RedisParts | undefined,
  bus: Bus,
): PresenceParts {
  const lastSeen = new LastSeenWriter({
    database,
    clock,
    onProblem: (problem) => logger.warn({ err: problem }, 'unable to store when users were last seen'),
  })
  const presenceStore =
    redisParts &&
    new RedisPresenceStore({
      redis: redisParts.redis,
      boot: bootId,
      clock,
      now: () => time.now(),
      subscribe: (user) => bus.subscribe(`p:${user}`),
      unsubscribe: (user) => bus.unsubscribe(`p:${user}`),
      hint: (user) => bus.publish(`p:${user}`, { kind: 'presence', user }),
      onLost: (seen) => lastSeen.note(seen),
      observer: {
        leaseTaken: (cause) => metrics.presenceLeases.inc({ cause }),
        unreachable: (partitions) => metrics.presenceUnreachable.set(partitions),
      },
    })
  const presences = new PresenceTracker<Connection>({
    clock,
    now: () => time.now(),
    presenceStore: presenceStore ?? localOnlyPresence,
    tell: (watcher, news: readonly Presence[]) => watcher.send(frameOf('presence', [...news])),
    saveLastSeen: (seen) => lastSeen.note(seen),
    readLastSeen: (users) => readLastSeen(database, users),
  })
  return { presences, presenceStore, lastSeen }
}
