/**
 * The version of the wire. A test hashes every schema of this package and fails when they change without a new
 * version, so nobody changes what clients see by accident.
 *
 * History
 * - 1: the first wire: identity, conversations, messages, live values, sync, Socket.IO, Server-Sent Events.
 * - 2: hardening against hostile clients and foreign ones. A client of version 1 keeps working.
 *   A reaction is exactly one emoji and is stored in one spelling; a name is one line that shows something.
 *   Binary data and numbers that a double does not keep are refused.
 *   Creating a conversation takes an optional `clientId`.
 *   A change may be of a type that this version does not name: `{seq, type, at, actor}`.
 *   Names and search terms are put into NFC.
 */
export const PROTOCOL_VERSION = 2
