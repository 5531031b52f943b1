import type { IdentityParts } from './identity-parts.ts'
import type { Database } from '../store/database.ts'
/** Everything a command may join. Built by node.ts. */
export interface Parts extends IdentityParts {
  readonly database: Database
}
