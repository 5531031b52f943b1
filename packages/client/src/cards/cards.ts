/**
 * Checks the cards that an application shows, each of them once, and acts on them. Loaded with the
 * first card.
 *
 * Guarantee: the number of remembered results is limited (rule LIM1). A check that could not read
 * the keys is repeated after a reconnect and every 30 s while the card is shown. A card with an
 * unknown key is checked again a few times, because a server may publish a new key late.
 */
import { type Card, ChorusError, type Message, type PageMessage } from '@chorus/protocol'
import type { ActOutcome, CardAct, CardState } from '../model/api-cards.ts'
import type { Clock } from '../support/clock.ts'
import type { HttpApi } from '../wire/http-api.ts'
import type { SendRequest } from '../wire/send-request.ts'
import { actOnCard } from './act-on-card.ts'
import { CardKeys, keysPauseMs } from './card-keys.ts'
import { type Verification, verifyCard } from './verify-card.ts'

/** Maximum number of remembered results. The oldest ones that no listener needs are dropped. */
const checksMax = 1_000
/** Maximum number of checks of a card whose key is unknown. */
export const unknownKeyChecksMax = 5

/** Fields that a check needs. The text is not kept, because the message may be erased. */
type Checked = Pick<Message, 'conversation' | 'clientId' | 'card'>

interface Check {
  readonly message: Checked
  readonly listeners: Set<() => void>
  result: Verification | undefined
  runs: number
  isRunning: boolean
}

export interface CardsOptions {
  readonly me: string
  readonly api: HttpApi
  readonly request: SendRequest
  readonly clock: Pick<Clock, 'now' | 'after'>
  /** Timers that also run when the sign-in ends, so that no promise stays pending. */
  readonly waits: Pick<Clock, 'after' | 'random'>
  readonly isConnected: () => boolean
  readonly onError: (error: unknown) => void
}

const verifying: CardState = { status: 'verifying' }

/** The card of one message in the local copy. */
interface LocalCard {
  readonly get: () => Card | undefined
  /**
   * Shows the message with a newer state of its card. `apply` returns the message itself if that
   * has this state or a later one.
   */
  readonly show: (apply: (message: PageMessage) => PageMessage) => void
}

export class Cards {
  readonly #options: CardsOptions
  readonly #keys: CardKeys
  readonly #checks = new Map<string, Check>()
  #isTimed = false

  constructor(options: CardsOptions) {
    this.#options = options
    this.#keys = new CardKeys(options.api, options.clock)
  }

  /** Returns what is known of the card of a message. */
  read(message: Message): CardState {
    const result = this.#checks.get(nameOf(message))?.result
    if (result?.status !== 'verified') return result ?? verifying
    return { ...result, acted: message.card?.acted ?? null }
  }

  /** Checks the card of a message. Calls `onChange` after each new result, until it is stopped. */
  watch(message: Message, onChange: () => void): () => void {
    const name = nameOf(message)
    const { conversation, clientId, card } = message
    const check: Check = this.#checks.get(name) ?? {
      message: { conversation, clientId, card },
      listeners: new Set(),
      result: undefined,
      runs: 0,
      isRunning: false,
    }
    this.#checks.delete(name)
    this.#checks.set(name, check)
    check.listeners.add(onChange)
    this.#dropOldest()
    if (isOpen(check)) this.#run(check)
    return () => {
      check.listeners.delete(onChange)
    }
  }

  /** Acts on a card, and shows the result at once. */
  async act(conversation: string, act: CardAct, local: LocalCard): Promise<ActOutcome> {
    const { me, request, waits, isConnected } = this.#options
    if (!isConnected()) throw new ChorusError('unavailable', 'unable to act on the card; there is no connection')
    const outcome = await actOnCard({ request, clock: waits }, conversation, act)
    if (outcome.status === 'done') {
      const card = local.get()
      const acted = { seq: outcome.seq, action: act.action, actor: me }
      if (card?.version === act.version) local.show(showing({ ...card, acted }))
    } else if (outcome.card !== undefined) local.show(showing(outcome.card))
    return outcome
  }

  /** Repeats the checks that could not read the keys, after a reconnect. */
  resume(): void {
    for (const check of this.#checks.values()) if (check.result === undefined) this.#runAgain(check)
  }

  #run(check: Check): void {
    if (check.isRunning) return
    check.isRunning = true
    check.runs += 1
    verifyCard(check.message, (kid) => this.#keys.find(kid))
      // The keys cannot be read now: the card stays unverified.
      .catch(() => undefined)
      .then((result) => {
        check.isRunning = false
        check.result = result ?? check.result
        if (isOpen(check)) this.#runLater()
        for (const listener of [...check.listeners]) listener()
      })
      .catch(this.#options.onError)
  }

  #runAgain(check: Check): void {
    if (check.listeners.size > 0) this.#run(check)
  }

  #runLater(): void {
    if (this.#isTimed) return
    this.#isTimed = true
    this.#options.clock.after(keysPauseMs, () => {
      this.#isTimed = false
      for (const check of this.#checks.values()) if (isOpen(check)) this.#runAgain(check)
    })
  }

  #dropOldest(): void {
    if (this.#checks.size <= checksMax) return
    for (const [name, { listeners }] of this.#checks) {
      if (listeners.size > 0) continue
      this.#checks.delete(name)
      return
    }
  }
}

/** Returns a function that gives a message this state of its card, unless it has a later one. */
function showing(newer: Card): (message: PageMessage) => PageMessage {
  return (message) => {
    const { card } = message
    if (card === undefined) return message
    const isActed = card.version === newer.version && card.acted === null && newer.acted !== null
    return isActed || card.version < newer.version ? { ...message, card: newer } : message
  }
}

/** Returns whether another run may change the result. */
function isOpen({ result, runs }: Check): boolean {
  if (result === undefined) return true
  return result.status === 'refused' && result.reason === 'unknown-key' && runs < unknownKeyChecksMax
}

/** Returns the name of a check: everything that the result depends on, besides the keys. */
function nameOf({ conversation, clientId, card }: Checked): string {
  return [conversation, clientId, card?.version, card?.jws].join(' ')
}
