/** Replaces the external ids of the users that may take an action by their user ids. */
import { type Card, type CardInput, ChorusError } from '@chorus/protocol'
import { readExternalUsers } from '../../accounts/external-users.ts'
import type { Database } from '../../database/database.ts'

/** Returns the actions as a card stores them. Returns undefined if one of the users does not exist. */
export async function resolveActions(
  database: Database,
  actions: NonNullable<CardInput['actions']>,
): Promise<Card['actions'] | undefined> {
  const externalIds = [...new Set(actions.flatMap(({ by }) => by ?? []))]
  const users = externalIds.length === 0 ? [] : await readExternalUsers(database, externalIds)
  const ids = new Map(users.map((user) => [user.externalId, user.id]))
  if (ids.size < externalIds.length) return undefined
  return actions.map(({ id, label, by }) =>
    by === undefined ? { id, label } : { id, label, by: by.flatMap((externalId) => ids.get(externalId) ?? []) },
  )
}

/** Returns the error for an action with an unknown user. `what` completes the error text "unable to …". */
export function unknownActor(what: string): ChorusError {
  return new ChorusError('not-found', `unable to ${what}; a user of one of the actions does not exist`)
}
