/**
 * Appends changes to conversations. All writes to the log go through this class (rules ACK1, ACK2,
 * IDEM1, ORD1, ORD2, BAD1).
 *
 * Group commit. Rows that arrive during a commit are collected for the next batch. So batches grow
 * with the load, and an idle server commits a single message without delay. A batch is one round
 * trip: one call of `append_changes` (or of `append_send` for a single message) in autocommit.
 *
 * Each queue uses one database connection, called a lane, and has at most one batch in flight
 * (append-queue.ts). Conversations are assigned to queues by hash. So the rows of a conversation
 * are stored in the order of arrival, and a busy conversation cannot starve conversations in other
 * queues. Creations of conversations have a separate queue with small batches, because one creation
 * writes as many rows as two hundred messages. Clients cannot send to a conversation before its
 * creation is acknowledged, so the separate queue breaks no order.
 */
import type { Id, Message } from '@chorus/protocol'
import { classifyDatabaseError } from '../database/database-errors.ts'
import type { Database } from '../database/database.ts'
import { type Appended, type CardOutcome, type OperationOutcome, refusal, type SendOutcome } from './append-outcome.ts'
import { type AppendObserver, AppendQueue, type WeightLimits } from './append-queue.ts'
import type { LogRow, SendRow } from './append-statement.ts'
import type { CardOperation, LogOperation } from './operations.ts'
import { findSameRequest } from './same-request.ts'

/** Limits of a queue for messages and operations, in characters of text. */
const messageWeights: WeightLimits = { batchWeightMax: 2_000_000, waitingWeightMax: Number.POSITIVE_INFINITY }
/** Limits of the queue for creations of conversations, in members. */
const creationWeights: WeightLimits = { batchWeightMax: 100, waitingWeightMax: 10_000 }
/** Weight of an operation without text in the batch limit, in characters. */
const operationChars = 200

type OutcomeOf<Operation extends LogOperation> = Operation['op'] extends CardOperation ? CardOutcome : OperationOutcome

export class ChangeLog {
  readonly #database: Database
  readonly #queues: AppendQueue[]
  readonly #creations: AppendQueue

  constructor(database: Database, observer: AppendObserver, nowMs: () => number) {
    this.#database = database
    this.#queues = Array.from(
      { length: database.laneCount },
      (_, index) => new AppendQueue(database.lane(index), observer, nowMs, messageWeights),
    )
    this.#creations = new AppendQueue(database.laneApart(), observer, nowMs, creationWeights)
  }

  /**
   * Stores a message once. Within two seconds, rejects with `unavailable` (certainly not stored) or
   * `unknown` (perhaps stored).
   */
  append(send: SendRow): Promise<Appended<SendOutcome>> {
    const appending = this.#queueOf(send.conversation).add({ kind: 'send', send }, send.conversation, send.text.length)
    return appending.then((appended) => this.#compareValues(send, appended as Appended<SendOutcome>))
  }

  /**
   * Applies an operation other than a new message or a creation. SQL checks the access rules while
   * it holds the lock of the conversation.
   */
  apply<Operation extends LogOperation>(operation: Operation): Promise<Appended<OutcomeOf<Operation>>> {
    const row: LogRow = { kind: 'operation', operation }
    const appended =
      operation.op === 'create'
        ? this.#creations.add(row, operation.conversation, operation.members.length)
        : this.#queueOf(operation.conversation).add(row, operation.conversation, weightOf(operation))
    return appended as Promise<Appended<OutcomeOf<Operation>>>
  }

  /** Number of rows waiting in all queues. */
  get waitingRows(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.waitingRows, this.#creations.waitingRows)
  }

  /** Resolves when no row is waiting or in flight. */
  async drain(): Promise<void> {
    await Promise.all([...this.#queues, this.#creations].map((queue) => queue.drain()))
  }

  /**
   * Turns a conflict into a duplicate when the stored message differs from the repeated one only in
   * the order of keys in `data`. SQL compares hashes of the JSON text, so it reports a conflict in
   * that case.
   */
  async #compareValues(send: SendRow, appended: Appended<SendOutcome>): Promise<Appended<SendOutcome>> {
    const request = { ...send, ...send.original }
    if (appended.outcome !== 'conflict' || request.data === null) return appended
    try {
      const first = await findSameRequest(this.#database, request)
      return first === undefined ? appended : { ...appended, ...first, outcome: 'duplicate' }
    } catch (error) {
      throw refusal('unknown', classifyDatabaseError(error, true))
    }
  }

  #queueOf(conversation: Id): AppendQueue {
    // Choose the queue by the last characters: in a UUIDv7 they are random.
    return this.#queues[Number.parseInt(conversation.slice(-4), 16) % this.#queues.length] as AppendQueue
  }
}

/**
 * Returns the weight of an operation in the batch limit, in characters. An edit weighs as much as a
 * message of the same text.
 */
function weightOf(operation: LogOperation): number {
  const text = 'text' in operation ? operation.text.length : 0
  const data = 'data' in operation ? (operation.data?.length ?? 0) : 0
  const card = 'card' in operation ? (operation.card?.length ?? 0) : 0
  return operationChars + text + data + card
}

/** Returns the message that clients see for a stored send. */
export function toStoredMessage(send: SendRow, seq: number, at: string): Message {
  return {
    conversation: send.conversation,
    seq,
    version: seq,
    clientId: send.clientId,
    sender: send.actor,
    text: send.text,
    replyTo: send.replyTo,
    attachments: [],
    data: send.data,
    createdAt: at,
    editedAt: null,
    deletedAt: null,
  }
}
