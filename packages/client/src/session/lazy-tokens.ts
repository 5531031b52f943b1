/**
 * Loads the code for user tokens with their first use, so that clients with cookies never load it.
 */
import type { UserTokens, UserTokensOptions } from './user-tokens.ts'

export class LazyTokens {
  readonly #options: UserTokensOptions
  #loading: Promise<UserTokens> | undefined
  /** Undefined until the first use. */
  loaded: UserTokens | undefined

  constructor(options: UserTokensOptions) {
    this.#options = options
  }

  load(): Promise<UserTokens> {
    this.#loading ??= this.#load()
    return this.#loading
  }

  async #load(): Promise<UserTokens> {
    try {
      const { UserTokens: Loaded } = await import('./user-tokens.ts')
      this.loaded = new Loaded(this.#options)
      return this.loaded
    } catch (error) {
      this.#loading = undefined
      throw error
    }
  }
}
