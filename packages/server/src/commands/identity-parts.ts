/**
 * The parts that sign-up, sign-in and session commands use: database, passwords, limits, mail, and
 * the announcement of a revocation.
 */
import type { Id } from '@chorus/protocol'
import type { Limits } from '../auth/limits.ts'
import type { Passwords } from '../auth/passwords.ts'
import type { Mailer } from '../jobs/mailer.ts'
import type { Config } from '../config/config.ts'
import type { Database } from '../database/database.ts'

export interface IdentityParts {
  readonly config: Pick<Config, 'signUp' | 'welcomeChannel'>
  readonly database: Database
  readonly passwords: Passwords
  readonly limits: Limits
  /** Undefined when this server sends no mail. */
  readonly mail: Mailer | undefined
  /**
   * Closes the connections of these sessions here and notifies the other servers. The sweep finds
   * the ones that this misses (rule ACL2).
   */
  readonly announceRevoked: (sessionIds: readonly Id[]) => void
}
