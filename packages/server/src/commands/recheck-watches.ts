/**
 * After somebody left a conversation: who watches whom is looked at again, so that presence ends with the last shared
 * conversation (rule PRES2) and the watcher is told so. One look at a time, for all who left by then; what cannot be looked at ends, pair
 * by pair. Called on every server that hears of it: from the conversation's log, and from the sweep, which hears of all.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Id } from '@chorus/protocol'
import { readSharedPairs, type UserPair } from '../store/read-sharing.ts'
import type { Parts } from './parts.ts'

/** Pairs of one statement. */
const pairsMax = 2_000
const looksMax = 3
const retryAfterMs = 300

export function recheckWatches(parts: Parts, user: Id): void {
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

/** Undefined: it could not be found out. */
async function look(parts: Parts, pairs: readonly UserPair[]): Promise<boolean[] | undefined> {
  for (let looks = 1; ; looks++) {
    try {
      return await readSharedPairs(parts.database, pairs)
    } catch (error) {
      if (looks < looksMax) {
        await pause(retryAfterMs)
        continue
      }
      parts.logger.warn({ err: error, pairs: pairs.length }, 'unable to check who may see whom; presence is withheld')
      return undefined
    }
  }
}
