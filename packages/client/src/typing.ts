/** Who is typing, and that I am: a live value that is said again while it is true and expires by itself. */
import type { LiveValue } from '@chorus/protocol'
import type { LiveValues, Typing } from './api.ts'
import type { Clock } from './clock.ts'
import { derive } from './observable.ts'

export const typingEveryMs = 3_000
/** Longer than the pause between two, so that it does not flicker on a slow line. */
export const typingTtlMs = 6_000

export function createTyping(live: LiveValues, me: string, clock: Clock, isConnected: () => boolean): Typing {
  let saidAtMs = Number.NEGATIVE_INFINITY
  const say = (value: true | null): void => {
    // Worth nothing later, so nothing is kept for later.
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
