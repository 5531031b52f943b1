/**
 * Public types of cards: messages of the integrator with a state that only its back end decides. The
 * conventions of `api.ts` apply.
 */
import type { Card, CardPayload } from '@chorus/protocol'

/** Proof of the card of a message, and the act on it. Show nothing of a card that is not verified. */
export type CardState =
  /** The signature is being checked, or the keys could not be read yet. */
  | { readonly status: 'verifying' }
  /** The server signed `card` for this message. `acted` is the first act on this version. */
  | { readonly status: 'verified'; readonly card: CardPayload; readonly acted: Card['acted'] }
  /** The origin of the card is not proven. */
  | { readonly status: 'refused'; readonly reason: CardRefusal }

/**
 * Reason why a card is not verified. `malformed`: it has no readable signature. `algorithm`: not
 * EdDSA. `unknown-key`: the server does not publish the key. `signature`: the signature is wrong.
 * `mismatch`: it was signed for another message, conversation or version.
 */
export type CardRefusal = 'malformed' | 'algorithm' | 'unknown-key' | 'signature' | 'mismatch'

/** An act on a card. */
export interface CardAct {
  /** Seq of the message. */
  readonly seq: number
  /** Version of the card that the user saw. */
  readonly version: number
  /** Id of an action of the card. */
  readonly action: string
}

/** Result of an act. */
export type ActOutcome =
  /** The act is stored. `seq` is the seq of the change `card.acted`. */
  | { readonly status: 'done'; readonly seq: number }
  /** Another act was first, or the card has a new version. Nothing was stored. */
  | { readonly status: 'stale'; readonly card: Card | undefined }
