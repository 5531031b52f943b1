/**
 * Loads the code for user tokens with their first use, so that clients with cookies never load it.
 */
import { Lazy } from '../support/lazy.ts'
import type { UserTokens, UserTokensOptions } from './user-tokens.ts'

export class LazyTokens extends Lazy<UserTokens> {
  constructor(options: UserTokensOptions) {
    super(async () => new (await import('./user-tokens.ts')).UserTokens(options))
  }
}
