/**
 * After a user left a conversation, checks which watchers may still see that user's presence. A
 * watcher may see it only while the two users share a conversation. When they share none, the watch
 * ends and the watcher is notified (rule PRES2). One check runs at a time, for all users who have
 * left by then. If a check fails, the affected watches end. Every server calls this for departures
 * in the logs that it delivers, and for all departures that its sweep finds.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Id } from '@chorus/protocol'
import { readSharedPairs, type UserPair } from '../log/read-sharing.ts'
import type { Parts } from '../commands/parts.ts'

/** Maximum number of user pairs in one statement. */
const pairsMax = 2_000
const looksMax = 3
const retryAfterMs = 300

export function revalidatePresenceSubscriptions(parts: Parts, user: Id): void {
  if (!parts.presences.concerns(user)) return
  if (parts.presences.noteLeft(user)) void lookAgain(parts)
}

async function lookAgain(parts: Parts): Promise<void> {
  const { presences } = parts
  for (let found = presences.takeLeft(); found !== undefined; found = presences.takeLeft()) {
    for (let from = 0; from < found.length; from += pairsMax) {
      const watches = found.slice(from, from + pairsMax)
      const shared = await look(
        parts,
        watches.map(({ watcher, watched }) => ({ user: watcher.user, other: watched })),
      )
      presences.unwatch(watches.filter((_watch, index) => shared?.[index] !== true))
    }
  }
}

/**
 * Returns for each pair of users whether they share a conversation, or undefined if the database
 * could not be read.
 */
async function look(parts: Parts, pairs: readonly UserPair[]): Promise<boolean[] | undefined> {
  for (let looks = 1; ; looks++) {
    try {
      return await readSharedPairs(parts.database, pairs)
    } catch (error) {
      if (looks < looksMax) {
        await pause(retryAfterMs)
        continue
      }
      parts.logger.warn({ err: error, pairs: pairs.length }, 'unable to check who may see whose presence; hiding it')
      return undefined
    }
  }
}
