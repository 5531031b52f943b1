/**
 * Every limit of the wire in one place, with its unit in its name (rule LIM1). Server and client
 * import these, so a client can refuse early what a server would refuse anyway. The comments below
 * generate docs/reference/limits.md.
 */
export const limits = {
  /** Longest message text, in UTF-16 code units. */
  textMaxChars: 20_000,
  /** Most bytes of JSON in a message's `data`. */
  dataMaxBytes: 8_192,
  /** Most bytes of JSON in a live value. */
  liveValueMaxBytes: 1_024,
  /** Longest time a live value may stay without being refreshed. */
  liveTtlMaxMs: 60_000,
  /** Longest key of a live value, in characters. */
  liveKeyMaxChars: 64,
  /** Longest name of a user or conversation, in UTF-16 code units. */
  nameMaxChars: 100,
  /** Longest handle, in characters. */
  handleMaxChars: 32,
  /** Shortest password accepted at sign-up, in characters. */
  passwordMinChars: 8,
  /** Longest password, in characters; hashing more would be a way to keep the server busy. */
  passwordMaxChars: 256,
  /** Longest address of an avatar, in characters. */
  avatarMaxChars: 2_048,
  /** Longest e-mail address, in characters. */
  emailMaxChars: 254,
  /** Longest search text, in characters. */
  queryMaxChars: 100,
  /** Longest emoji of a reaction, in UTF-16 code units (a family with skin tones is 25). */
  emojiMaxChars: 32,
  /** Most different emoji on one message. */
  reactionKindsMax: 50,
  /** Most bytes of one request body or one Socket.IO packet. */
  requestMaxBytes: 131_072,
  /** Most ids in one list. */
  listMaxIds: 100,
  /** Most members named when a conversation is created. */
  initialMembersMax: 100,
  /** Most conversations one user may be a member of. */
  conversationsPerUserMax: 10_000,
  /** Largest page. */
  pageMax: 200,
  /** Page size when `limit` is left out. */
  pageDefault: 50,
  /** Deepest nesting of JSON in `data`, live values and session data. */
  jsonMaxDepth: 20,
  /** Most bytes of a session's application data. */
  sessionDataMaxBytes: 8_192,
  /** Longest cursor, in characters. */
  cursorMaxChars: 1_024,
  /** `unread` stops counting here: 1000 means "1000 or more". */
  unreadMax: 1_000,
  /** `unread` counts among this many newest messages behind the marker, one's own and deleted ones included. */
  unreadScanMax: 2_000,
  /** How many members a conversation object names. */
  membersShown: 5,
  /** The newest changes of a conversation that a resume always replays (rule RES1). */
  replayMaxChanges: 10_000,
  /** A page of changes ends at its count or here, whichever comes first (rule SLOW1). */
  pageMaxBytes: 262_144,
  /** Most changes in one `changes` event. */
  changesPerEventMax: 200,
  /** Largest seq; above it JSON numbers lose precision. */
  seqMax: Number.MAX_SAFE_INTEGER,
} as const
