/**
 * The objects that sign-up, sign-in and session commands use: database, passwords, limits, mail,
 * and the announcement of revoked sessions.
 */
import type { Id } from '@chorus/protocol'
import type { Limits } from '../auth/limits.ts'
import type { Passwords } from '../auth/passwords.ts'
import type { Mailer } from '../jobs/mailer.ts'
import type { Config } from '../config/config.ts'
import type { KeyRegistry } from '../keys/key-registry.ts'
import type { Database } from '../database/database.ts'

export interface IdentityParts {
  readonly config: Pick<Config, 'signUp' | 'welcomeChannel'>
  readonly database: Database
  readonly passwords: Passwords
  readonly keys: KeyRegistry
  readonly limits: Limits
  /** Sends mails; undefined when this server sends none. */
  readonly mail: Mailer | undefined
  /**
   * Closes the connections of these sessions on this server and notifies the other servers. If a
   * notice is lost, the sweep finds the revocation (rule ACL2).
   */
  readonly announceRevoked: (sessionIds: readonly Id[]) => void
}
