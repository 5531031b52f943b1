/**
 * Proof that a user was a member of a conversation when its log was at `seq` (rule ACL1).
 *
 * Guarantee: catch-up creates a proof only from a read that tested the membership, for one request,
 * and never caches it. The proof is valid only for what was read: this user, this conversation, and
 * data that shows the log as of `seq` or earlier. Data that shows a later state may contain a text
 * written after the user's removal, so it needs a later proof.
 */
import type { Id } from '@chorus/protocol'

export class MembershipProof {
  readonly user: Id
  readonly conversation: Id
  /** Last seq of the log in the database snapshot in which the user was a member. */
  readonly seq: number

  constructor(user: Id, conversation: Id, seq: number) {
    this.user = user
    this.conversation = conversation
    this.seq = seq
  }

  /** Returns whether the user may see data that shows the log as of this seq. */
  covers(asOf: number): boolean {
    return asOf <= this.seq
  }
}
