/**
 * All limits of the protocol in one place, each with its unit in its name (rule LIM1). Server and
 * client import them, so a client can refuse an input before it sends it. The comments below
 * generate docs/reference/limits.md.
 */
export const limits = {
  /** Maximum length of a message text, in UTF-16 code units. */
  textMaxChars: 20_000,
  /** Maximum size of a message's `data`, in bytes of JSON. */
  dataMaxBytes: 8_192,
  /** Maximum size of a card in a request, in bytes of JSON. */
  cardMaxBytes: 4_096,
  /** Maximum number of fields of a card. */
  cardFieldsMax: 20,
  /** Maximum length of the name of a card's field, in UTF-16 code units. */
  cardFieldNameMaxChars: 50,
  /** Maximum length of the value of a card's field, in UTF-16 code units. */
  cardFieldMaxChars: 500,
  /** Maximum number of actions of a card. */
  cardActionsMax: 5,
  /** Maximum number of users that may take one action of a card. */
  cardActorsMax: 20,
  /** Maximum version of a card: how many times an API key may change it. */
  cardVersionMax: 1_000_000,
  /** Maximum size of a live value, in bytes of JSON. */
  liveValueMaxBytes: 1_024,
  /** Maximum lifetime of a live value that is not refreshed, in milliseconds. */
  liveTtlMaxMs: 60_000,
  /** Maximum length of the key of a live value, in characters. */
  liveKeyMaxChars: 64,
  /** Maximum length of the name of a user or conversation, in UTF-16 code units. */
  nameMaxChars: 100,
  /** Maximum length of a handle, in characters. */
  handleMaxChars: 32,
  /** Minimum length of a password at sign-up, in characters. */
  passwordMinChars: 8,
  /** Maximum length of a password, in characters: hashing longer ones would let clients overload the server. */
  passwordMaxChars: 256,
  /** Maximum length of the URL of an avatar, in characters. */
  avatarMaxChars: 2_048,
  /** Maximum length of a user's id in the system of an integrator, in UTF-16 code units. */
  externalIdMaxChars: 128,
  /** Maximum number of users in one request of the server API. */
  bulkUsersMax: 1_000,
  /** Maximum size of a request body with many users, in bytes. */
  bulkMaxBytes: 1_048_576,
  /** Maximum length of a user token, in characters. */
  tokenMaxChars: 8_192,
  /** Maximum length of an e-mail address, in characters. */
  emailMaxChars: 254,
  /** Maximum length of a search text, in characters. */
  queryMaxChars: 100,
  /** Maximum length of the emoji of a reaction, in UTF-16 code units (a family with skin tones has 25). */
  emojiMaxChars: 32,
  /** Maximum number of different emoji on one message. */
  reactionKindsMax: 50,
  /** Maximum size of one request body or one Socket.IO packet, in bytes. */
  requestMaxBytes: 131_072,
  /** Maximum number of ids in one list of a request. */
  listMaxIds: 100,
  /** Maximum number of members in the request that creates a conversation. */
  initialMembersMax: 100,
  /** Maximum number of conversations that one user may be a member of. */
  conversationsPerUserMax: 10_000,
  /** Maximum number of items on one page. */
  pageMax: 200,
  /** Number of items on a page when `limit` is left out. */
  pageDefault: 50,
  /** Maximum nesting depth of JSON in `data`, live values and session data. */
  jsonMaxDepth: 20,
  /** Maximum size of a session's application data, in bytes. */
  sessionDataMaxBytes: 8_192,
  /** Maximum length of a cursor, in characters. */
  cursorMaxChars: 1_024,
  /** Maximum of `unread`, the number of unread messages: 1000 means "1000 or more". */
  unreadMax: 1_000,
  /** Maximum number of newest messages (own and deleted ones, too) that are examined to count `unread`. */
  unreadScanMax: 2_000,
  /** Maximum number of members in a conversation object. */
  membersShown: 5,
  /** Number of newest changes of a conversation that a resume always replays (rule RES1). */
  replayMaxChanges: 10_000,
  /** Maximum size of a page of changes, in bytes; a page also ends at its maximum number of changes (rule SLOW1). */
  pageMaxBytes: 262_144,
  /** Maximum number of changes in one `changes` event. */
  changesPerEventMax: 200,
  /** Largest seq: JSON numbers above it lose precision. */
  seqMax: Number.MAX_SAFE_INTEGER,
} as const
