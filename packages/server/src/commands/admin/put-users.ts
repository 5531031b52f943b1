/**
 * Creates or updates many users, a hundred in one statement. Checks the key before each of these
 * steps, so a call whose key is revoked stops within a second (rule ACL2). The results say which
 * users were stored.
 */
import { ChorusError, type CommandResult } from '@chorus/protocol'
import { type ExternalProfile, putExternalUsers, putUsersMax } from '../../accounts/external-users.ts'
import type { Command } from '../command.ts'
import { endDeactivated, refusalOfPut, requireAdminToDeactivate } from './put-outcome.ts'

type Result = CommandResult<'put-users'>['results'][number]

/** Number of users that cost as much as one request. */
const usersPerRequest = 10

export const putUsers: Command<'put-users'> = {
  cost: { budget: 'key', requests: ({ users }) => Math.floor(users.length / usersPerRequest) },
  run: async ({ parts, key }, { users }) => {
    requireAdminToDeactivate(key, users)
    const results = new Map<ExternalProfile, Result>()
    const distinct = [...new Map(users.map((profile) => [profile.externalId, profile])).values()]
    for (let from = 0; from < distinct.length; from += putUsersMax) {
      const page = distinct.slice(from, from + putUsersMax)
      if (key === undefined || !(await parts.keys.isLive(key.id))) break
      const outcomes = await putExternalUsers(parts.database, page)
      await endDeactivated(parts, outcomes)
      for (const [index, profile] of page.entries()) {
        const outcome = outcomes[index]
        if (outcome === undefined) continue
        const { externalId } = profile
        results.set(
          profile,
          'user' in outcome ? { externalId, user: outcome.user } : failed(profile, refusalOfPut(outcome.kind)),
        )
      }
    }
    const kept = new Set(distinct)
    return { results: users.map((profile) => results.get(profile) ?? failed(profile, reasonOf(kept.has(profile)))) }
  },
}

/** Returns the reason why a user was not stored. `isDistinct`: it was the last of its external id. */
function reasonOf(isDistinct: boolean): ChorusError {
  return isDistinct
    ? new ChorusError('unauthenticated', 'unable to put user; the key was revoked')
    : new ChorusError('invalid', 'unable to put user; its externalId is in the list again')
}

function failed({ externalId }: ExternalProfile, error: ChorusError): Result {
  return { externalId, error: error.toBody() }
}
