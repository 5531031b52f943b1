/** Value whose code is loaded with its first use. A failed load is tried again with the next use. */
import { ChorusError } from '@chorus/protocol'

export class Lazy<Value> {
  readonly #create: () => Promise<Value>
  #loading: Promise<Value> | undefined
  /** Undefined until the first use. */
  loaded: Value | undefined

  constructor(create: () => Promise<Value>) {
    this.#create = create
  }

  /** Returns the value. Rejects with `unavailable` if its code cannot be loaded. */
  load(): Promise<Value> {
    this.#loading ??= this.#create().then(
      (value) => (this.loaded = value),
      (cause: unknown) => {
        this.#loading = undefined
        throw new ChorusError('unavailable', 'unable to load the client; a script is missing', { cause })
      },
    )
    return this.#loading
  }
}
