/**
 * Between servers: hints about what was committed (rule PUB1). Publishing may fail, repeat, overtake or come to nothing;
 * order and completeness come from seq and the sweep, never from here.
 *
 * Promised: a message goes only to servers that subscribe its channel; `publish` never throws and never waits; what a
 * server publishes may or may not come back to it. Not promised: delivery, order, exactly once.
 */
import type { Id } from '@chorus/protocol'
import type { LoggedChange } from '../support/logged-change.ts'

export type BusMessage =
  | {
      readonly kind: 'changes'
      readonly epoch: string
      readonly conversation: Id
      readonly changes: readonly LoggedChange[]
    }
  | { readonly kind: 'live'; readonly conversation: Id; readonly json: string }
  | { readonly kind: 'membership'; readonly user: Id; readonly conversation: Id }
  | {
      readonly kind: 'read-marker'
      readonly epoch: string
      readonly user: Id
      readonly conversation: Id
      readonly readSeq: number
      readonly json: string
    }
  | { readonly kind: 'revoked'; readonly sessions: readonly Id[] }
  /** "Ask again who is here": something about this user's presence changed. */
  | { readonly kind: 'presence'; readonly user: Id }
  | ({ readonly kind: 'device' } & DeviceNews)

/** What a device said over plain HTTP, which its connections may be far from: whether somebody is there, whom it watches. */
export interface DeviceNews {
  readonly user: Id
  readonly session: Id
  readonly status?: 'online' | 'away' | undefined
  readonly watched?: readonly Id[] | undefined
}

/**
 * `c:<conversation>`: changes and live values. `u:<user>`: for the connections of that user. `p:<user>`: for those who
 * watch that user. `all`: subscribed by every server.
 */
export type BusChannel = `c:${Id}` | `u:${Id}` | `p:${Id}` | 'all'

export interface Bus {
  publish(channel: BusChannel, message: BusMessage): void
  /** Resolves when messages published from now on arrive, or when the bus gives up waiting for that (rule JOIN1). */
  subscribe(channel: BusChannel): Promise<void>
  unsubscribe(channel: BusChannel): void
  onMessage(listener: (message: BusMessage) => void): void
  /** Called after a gap in the subscription: something may have been missed, so sweep at once. */
  onGap(listener: () => void): void
  /** Undefined: working. Otherwise why it is not, for `/readyz`. */
  degraded(): string | undefined
  close(): Promise<void>
}
