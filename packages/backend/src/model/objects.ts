/** Objects of the server API that only keys see or write: users with external ids, subjects, cards. */
import type { Conversation, ConversationKind, ExternalUser, Json, Message } from '@chorus/protocol'

/** A user as a key sees it. `externalId` is null for accounts that sign in with a password. */
export type ApiUser = ExternalUser

/** Profile that `users.put` stores. */
export interface UserProfile {
  readonly name: string
  /** An https URL or a path on the Chorus server. */
  readonly avatar?: string | null
  readonly handle?: string
  /** True ends all sessions of the user and refuses new ones. Needs a key with the scope `admin`. */
  readonly deactivated?: boolean
}

/** One user of `users.putMany`. */
export interface UserEntry extends UserProfile {
  readonly externalId: string
}

/** Outcome for one user of `users.putMany`: the stored user, or the reason why it was refused. */
export interface UserResult {
  readonly externalId: string
  readonly user?: ApiUser
  readonly error?: { readonly code: string; readonly message: string; readonly retry: 'never' | 'later' }
}

export interface UserPage {
  readonly users: readonly ApiUser[]
  /** Value of `page` for the next page. Absent on the last page. */
  readonly next?: string
}

/** The thing in the integrator's product that a conversation is about, such as an order. */
export interface Subject {
  /** Kind of thing: 1 to 32 characters of a to z, 0 to 9 and `-`. */
  readonly type: string
  /** Id of the thing in the integrator's system, at most 128 characters. */
  readonly id: string
}

/** A subject with the texts that clients show. */
export interface ShownSubject extends Subject {
  readonly title?: string | null
  readonly url?: string | null
  readonly data?: Json
}

export interface SubjectConversation {
  readonly kind: Exclude<ConversationKind, 'direct'>
  readonly name?: string
  readonly title?: string
  readonly url?: string
  readonly data?: Json
  /** External ids. Missing members are added; no member is removed. */
  readonly members: readonly string[]
}

/** A conversation as a key sees it. */
export type ApiConversation = Conversation & { readonly subject?: ShownSubject | null }

/** An action that a card offers. */
export interface CardAction {
  readonly id: string
  readonly label: string
  /** External ids of the users who may act. Absent: every member. The server returns user ids. */
  readonly by?: readonly string[]
}

/** A card as a back end writes it. The server adds its version and its signature. */
export interface CardContent {
  readonly type: string
  readonly title: string
  readonly state: string
  /** At most 20 short texts by name. */
  readonly fields?: Readonly<Record<string, string>>
  /** At most 5. A card without actions is final. */
  readonly actions?: readonly CardAction[]
}

/** A card in the log. Only keys change it; a member may act on it once for each version. */
export interface Card extends Required<CardContent> {
  readonly version: number
  readonly acted: { readonly seq: number; readonly action: string; readonly actor: string } | null
  /** Compact JWS of the deployment's key over the card and its place. */
  readonly jws: string
}

/** The next version of a card. */
export interface CardUpdate {
  /** Version that this update is based on. If the card has changed since, the call fails with `stale`. */
  readonly version: number
  readonly state: string
  readonly fields?: Readonly<Record<string, string>>
  readonly actions?: readonly CardAction[]
}

export interface ApiMessageContent {
  /** UUID of the message, for a retry of your own. A repeated id stores nothing again. */
  readonly clientId?: string
  readonly text?: string
  readonly data?: Json
  readonly card?: CardContent
  /** External id of the sender. Absent: the bot user of the key. */
  readonly as?: string
}

export type ApiMessage = Message & { readonly card?: Card | null }
