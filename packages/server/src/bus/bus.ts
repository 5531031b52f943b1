/**
 * The bus carries hints (unreliable notices of committed changes) between servers (rule PUB1).
 *
 * Guarantees: a message reaches only servers that subscribed to its channel. `publish` never throws
 * and never waits. A server may or may not receive its own messages. Not guaranteed: delivery,
 * order, exactly once. A hint may be lost, repeated or late. Receivers get order and completeness
 * from the seq of each change and from the sweep, never from the bus.
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
  /** The presence of this user has changed. Receivers read it from the presence store again. */
  | { readonly kind: 'presence'; readonly user: Id }
  | ({ readonly kind: 'device' } & DeviceUpdate)

/**
 * An update that a device sent over plain HTTP: its status and the users that it watches. The
 * server that receives the request may not be the server that has the device's connections.
 */
export interface DeviceUpdate {
  readonly user: Id
  readonly session: Id
  readonly status?: 'online' | 'away' | undefined
  readonly watched?: readonly Id[] | undefined
}

/**
 * Channel of the bus:
 * - `c:<conversation>`: changes and live values of the conversation.
 * - `u:<user>`: messages for the connections of that user.
 * - `p:<user>`: presence of that user, for connections that watch the user.
 * - `all`: subscribed to by every server.
 */
export type BusChannel = `c:${Id}` | `u:${Id}` | `p:${Id}` | 'all'

export interface Bus {
  publish(channel: BusChannel, message: BusMessage): void
  /**
   * Subscribes to a channel. Resolves when messages published from now on will arrive, or when the
   * bus stops waiting for the confirmation (rule JOIN1).
   */
  subscribe(channel: BusChannel): Promise<void>
  unsubscribe(channel: BusChannel): void
  onMessage(listener: (message: BusMessage) => void): void
  /**
   * Registers a listener for gaps in the subscription. Messages may be missing, so the listener
   * starts a sweep at once.
   */
  onGap(listener: () => void): void
  /** Returns the reason why the bus does not work, for `/readyz`, or undefined while it works. */
  degraded(): string | undefined
  close(): Promise<void>
}
