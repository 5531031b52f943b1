/**
 * Typing indicator: sends the signals of this user and shows those of others. A signal is a live
 * value that is sent again while the user types and expires by itself.
 */
import type { LiveValue } from '@chorus/protocol'
import type { LiveValues, Typing } from '../model/api-conversation.ts'
import type { Clock } from '../support/clock.ts'
import { derive } from '../support/observable.ts'

/** Minimum time between two typing signals. */
export const typingEveryMs = 3_000
/**
 * Lifetime of a typing signal. It is longer than the interval between two signals, so that the
 * indicator does not flicker on a slow connection.
 */
export const typingTtlMs = 6_000

export function createTyping(live: LiveValues, me: string, clock: Clock, isConnected: () => boolean): Typing {
  let saidAtMs = Number.NEGATIVE_INFINITY
  const say = (value: true | null): void => {
    // Sent only while connected, because a late typing signal is worthless.
    if (isConnected()) live.set('typing', value, typingTtlMs).catch(() => undefined)
  }
  return {
    users: derive(live.observe('typing'), (values: ReadonlyMap<string, LiveValue>) =>
      [...values.keys()].filter((user) => user !== me),
    ),
    start: () => {
      const nowMs = clock.now()
      if (nowMs - saidAtMs < typingEveryMs) return
      saidAtMs = nowMs
      say(true)
    },
    stop: () => {
      const isSaid = clock.now() - saidAtMs < typingTtlMs
      saidAtMs = Number.NEGATIVE_INFINITY
      if (isSaid) say(null)
    },
  }
}
