/**
 * The objects that commands use: log, delivery, live values, authentication and accounts.
 * start/start-delivery.ts builds them.
 */
import type { CardSigner } from '../keys/card-signer.ts'
import type { Connections } from '../delivery/connections.ts'
import type { Feeds } from '../delivery/feeds.ts'
import type { PreSendHook } from '../hook/pre-send-hook.ts'
import type { LiveValues } from '../live/live-values.ts'
import type { Connection } from '../delivery/connection.ts'
import type { PresenceTracker } from '../live/presence-tracker.ts'
import type { ChangeLog } from '../log/change-log.ts'
import type { CursorCodec } from '../log/cursor.ts'
import type { CatchUp } from '../catch-up/catch-up.ts'
import type { HookFacts, HookFactsRequest } from '../log/read-hook-facts.ts'
import type { MarkerState } from '../log/read-markers.ts'
import type { Memberships, MembershipsRequest } from '../log/read-memberships.ts'
import type { MemberPair } from '../log/read-latest-pages.ts'
import type { Batcher } from '../support/batcher.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'
import type { TokenSessions } from '../tokens/token-sessions.ts'
import type { UserTokens } from '../tokens/user-tokens.ts'
import type { IdentityParts } from './identity-parts.ts'

/** Reads read markers, many in one statement. A result of null means that the user is no member. */
export type MarkerReads = Batcher<MemberPair, MarkerState | null>

export interface Parts extends IdentityParts {
  readonly serverName: string
  readonly cards: CardSigner
  readonly userTokens: UserTokens
  readonly tokenSessions: TokenSessions
  /** Asked before a message of a user is stored; undefined without `PRE_SEND_HOOK_URL`. */
  readonly hook: PreSendHook | undefined
  readonly hookFacts: Batcher<HookFactsRequest, HookFacts | null>
  readonly log: ChangeLog
  readonly cursors: CursorCodec
  readonly catchUp: CatchUp
  readonly feeds: Feeds
  readonly connections: Connections
  readonly liveValues: LiveValues
  readonly presences: PresenceTracker<Connection>
  readonly memberships: Batcher<MembershipsRequest, Memberships>
  readonly markers: MarkerReads
  readonly logger: Logger
  readonly metrics: Metrics
  /** Returns the current database epoch (the identity of the database's history). */
  readonly epoch: () => string
}
