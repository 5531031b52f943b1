/**
 * Loads the code for cards with the first card, so that clients without cards never load it.
 */
import type { Message } from '@chorus/protocol'
import type { CardState } from '../model/api-cards.ts'
import { Lazy } from '../support/lazy.ts'
import { createComputedCell, type Observable } from '../support/observable.ts'
import type { Cards, CardsOptions } from './cards.ts'

const verifying: CardState = { status: 'verifying' }

export class LazyCards extends Lazy<Cards> {
  readonly #onError: (error: unknown) => void

  constructor(options: CardsOptions) {
    super(async () => new (await import('./cards.ts')).Cards(options))
    this.#onError = options.onError
  }

  /** Returns the state of the card of a message. The first listener starts the check. */
  observe(message: Message): Observable<CardState> {
    const onError = this.#onError
    let stop: (() => void) | undefined
    const cell = createComputedCell<CardState>(() => this.loaded?.read(message) ?? verifying, {
      onWatched: () => {
        this.load().then((cards) => {
          if (cell.watchers() === 0) return
          stop ??= cards.watch(message, cell.invalidate)
          cell.invalidate()
        }, onError)
      },
      onUnwatched: () => {
        stop?.()
        stop = undefined
      },
      onError,
    })
    return cell
  }
}
