/** Refusals that the two commands that put users share. */
import { ChorusError } from '@chorus/protocol'
import { type PutOutcome, revokeSessionsOf } from '../../accounts/external-users.ts'
import type { ApiKey } from '../../keys/key-store.ts'
import type { Parts } from '../parts.ts'

/** Returns the error for a user that was not stored. */
export function refusalOfPut(kind: Exclude<PutOutcome['kind'], 'created' | 'updated'>): ChorusError {
  switch (kind) {
    case 'handle-taken':
      return new ChorusError('conflict', 'unable to put user; the handle is taken')
    case 'erasing':
      return new ChorusError('conflict', 'unable to put user; the user with this externalId is being erased')
  }
}

/** Throws if one of the profiles sets `deactivated` and the key may not. */
export function requireAdminToDeactivate(
  key: ApiKey | undefined,
  profiles: readonly { readonly deactivated?: boolean | undefined }[],
): void {
  if (profiles.every(({ deactivated }) => deactivated === undefined) || key?.scopes.includes('admin') === true) return
  throw new ChorusError('forbidden', 'unable to put user; deactivated needs a key with the scope admin')
}

/** Ends the sessions of the users that are deactivated now, with their connections (rule ACL2). */
export async function endDeactivated(
  { database, announceRevoked }: Pick<Parts, 'database' | 'announceRevoked'>,
  outcomes: readonly (PutOutcome | undefined)[],
): Promise<void> {
  const users = outcomes.flatMap((outcome) =>
    (outcome?.kind === 'created' || outcome?.kind === 'updated') && outcome.user.deactivated ? [outcome.user.id] : [],
  )
  if (users.length > 0) await revokeSessionsOf(database, users, announceRevoked)
}
