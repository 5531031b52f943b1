/**
 * Version of the protocol. A test hashes every schema of this package and fails when a schema
 * changes without a new version, so the protocol cannot change by accident.
 *
 * History
 * - 1: the first protocol: identity, conversations, messages, live values, sync, Socket.IO,
 *   Server-Sent Events.
 * - 2: stricter checks against hostile clients and clients of other makers. A client of version 1
 *   keeps working. A reaction is exactly one emoji and is stored in one spelling; a name is one
 *   line with a visible character. Binary data and numbers that a double cannot represent are
 *   refused. Creating a conversation takes an optional `clientId`. A change may have a type that
 *   this version does not know: `{seq, type, at, actor}`. Names and search terms are normalized
 *   to NFC.
 * - 3: embedding. Server API with API keys under `/v1/admin`, `Chorus-As` and `Idempotency-Key`. A
 *   user may have `bot`, a conversation `subject`, a message `card`. Cards: changes `card.updated`
 *   and `card.acted`, the event `act`, the error `stale` with `current`. User tokens of
 *   applications: `auth: {token, device}`, `Authorization: Bearer`, the event `authenticate`, and
 *   `closing` with the code `unauthenticated`.
 */
export const PROTOCOL_VERSION = 3
