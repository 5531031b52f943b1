/**
 * Mutants of the server, in the order of a message's path: store, publish, deliver, resume, watch.
 */
import type { Mutant } from './mutant.ts'

/**
 * A fault with hardly any effect. It gives the run time in which members join and leave and clients
 * restart.
 */
const calm = ['F5']

const built = (path: string): string => `packages/server/dist/${path}.js`
const appendChangesSql = 'packages/server/src/database/functions/append-changes.sql'
const appendSendSql = 'packages/server/src/database/functions/append-send.sql'
const schemaSql = 'packages/server/src/database/migrations/001-initial.sql'

export const serverMutants: readonly Mutant[] = [
  {
    name: 'acknowledge-before-durable',
    about: 'commits are acknowledged before they are on disk, and a crash of Postgres loses the last ones',
    edits: [
      {
        file: built('database/session-settings'),
        search: "synchronous_commit: 'on'",
        replacement: "synchronous_commit: 'off'",
      },
    ],
    breaks: ['A1', 'A6', 'A7', 'A8', 'A13'],
    shownBy: { faults: ['F8'], count: 8, rate: 400 },
  },
  {
    name: 'acknowledge-at-deadline',
    about: 'the sender gets a success when the database does not answer in time',
    edits: [
      {
        file: built('log/change-log'),
        search: "waiting.reject(refusal(mayBeStored ? 'unknown' : 'unavailable', error));\n",
        replacement:
          "waiting.resolve({ outcome: 'stored', seq: 1, at: new Date().toISOString(), xid: 0, detail: null });\n",
      },
      {
        file: built('log/change-log'),
        search: 'for (const waiting of expired)\n            waiting.reject(refusal(code));',
        replacement:
          "for (const waiting of expired)\n            waiting.resolve({ outcome: 'stored', seq: 1, at: new Date().toISOString(), xid: 0, detail: null });",
      },
    ],
    breaks: ['A1', 'A6'],
    shownBy: { faults: ['F8', 'F9', 'F11', 'F18'], count: 6 },
  },
  {
    name: 'announce-before-commit',
    about: 'a message is delivered before it is stored, with a guessed seq',
    edits: [
      {
        file: built('commands/messages/send-message'),
        search: 'let appended;\n',
        replacement: `const guess = (parts.feeds.get(send.conversation)?.recent.newestSeq ?? 0) + 1;
    const early = new Date().toISOString();
    parts.feeds.announce([
        encodeSentMessage(0, early, toStoredMessage(send, guess, early)),
    ]);
    let appended;
`,
      },
    ],
    breaks: ['A2', 'A3', 'A5', 'A6', 'A8'],
    shownBy: { faults: ['F8'], count: 2 },
  },
  {
    name: 'seq-with-holes',
    about: 'seq is like a database sequence: numbers of rolled-back transactions are lost',
    edits: [
      {
        file: appendChangesSql,
        search: 'then k.seq + count(*)',
        replacement: 'then k.seq + (extract(milliseconds from v_now)::bigint % 50 = 0)::int + count(*)',
      },
      {
        file: appendSendSql,
        search: 'v_seq := v_top_seq + 1;',
        replacement: 'v_seq := v_top_seq + 1 + (extract(milliseconds from clock_timestamp())::bigint % 50 = 0)::int;',
      },
    ],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: calm, count: 3 },
  },
  {
    name: 'no-deduplication',
    about: 'a retry with the same clientId is stored again',
    edits: [
      {
        file: appendChangesSql,
        search: 'and c.conversation = u.conversation and c.client_id = u.client_id limit 1) d on true',
        replacement: 'and c.conversation = u.conversation and c.client_id = u.client_id and false limit 1) d on true',
      },
      {
        file: appendSendSql,
        search: 'and c.client_id = p_client_id;',
        replacement: 'and c.client_id = p_client_id and false;',
      },
      {
        file: schemaSql,
        search: 'create unique index changes_client_id',
        replacement: 'create index changes_client_id',
      },
    ],
    breaks: ['A4', 'A6'],
    shownBy: { faults: ['F9'], count: 10, rate: 400 },
  },
  {
    name: 'refused-after-commit',
    about: 'after a lost COMMIT the sender is told, without a check, that nothing was stored',
    edits: [
      {
        file: built('log/change-log'),
        search: "case 'lost':\n                    mayBeStored = true;\n                    break;",
        replacement:
          "case 'lost':\n                    for (const waiting of rows)\n                        waiting.reject(refusal('unavailable', error));\n                    return;",
      },
    ],
    breaks: ['A2', 'A14'],
    shownBy: { faults: ['F9', 'F8'], count: 8, rate: 400 },
  },
  {
    name: 'membership-not-checked-on-append',
    about: 'the membership of the sender is not checked under the lock',
    edits: [
      {
        file: appendChangesSql,
        search: "when m.user_id is null then 'not-found'\n                     when u.reply_to",
        replacement: "when false then 'not-found'\n                     when u.reply_to",
      },
      {
        file: appendSendSql,
        search: 'elsif not exists (\n    select from members',
        replacement: 'elsif false and not exists (\n    select from members',
      },
    ],
    breaks: ['A12'],
    shownBy: { faults: calm, count: 8, rate: 400 },
  },
  {
    name: 'cached-page-never-renewed',
    about: 'a server keeps serving its first copy of the newest page',
    edits: [
      {
        file: built('catch-up/latest-page-cache'),
        search: 'let kept = pages.has(conversation) ? read.get(conversation) : known.get(conversation);',
        replacement: 'let kept = known.get(conversation) ?? read.get(conversation);',
      },
    ],
    breaks: ['A11'],
    shownBy: { faults: calm, count: 8, rate: 300 },
  },
  {
    name: 'page-without-membership',
    about: 'former members get pages of history',
    edits: [
      {
        file: built('log/read-messages'),
        search: 'where v.id = $1 and m.user_id = $2 and m.left_seq is null) me',
        replacement: 'where v.id = $1 and m.user_id = $2) me',
      },
      {
        file: built('log/read-latest-pages'),
        search: 'where m.conversation = w.conversation and m.user_id = w.user_id and m.left_seq is null limit 1) me',
        replacement: 'where m.conversation = w.conversation and m.user_id = w.user_id limit 1) me',
      },
    ],
    breaks: ['A12'],
    shownBy: { faults: calm, count: 8, rate: 400 },
  },
  {
    name: 'body-corrupted-on-the-bus',
    about: 'the body of a hint loses one byte and is patched up',
    edits: [
      {
        file: built('bus/bus-codec'),
        search: "json: body.toString('utf8', at, end),",
        replacement: `json: body.toString('utf8', at, end).replace('"text":"', '"text":"~'),`,
      },
    ],
    breaks: ['A3', 'A6'],
    shownBy: { faults: calm, count: 3 },
  },
  {
    name: 'cut-means-not-stored',
    about: 'a connection that ends while a batch is committed counts as a certain refusal',
    edits: [
      {
        file: built('database/database-errors'),
        search: "return wasSent ? 'lost' : 'refused';",
        replacement: "return 'refused';",
      },
      {
        file: built('database/database-errors'),
        search: "wasSent && !neverConnected(error, code) ? 'lost' : 'refused'",
        replacement: "'refused'",
      },
    ],
    breaks: ['A14', 'A2'],
    shownBy: { faults: ['F8', 'F9'], count: 8, rate: 400 },
  },
  {
    name: 'forged-hints-believed',
    about: 'the HMAC of hints is not checked, while forged hints are published',
    edits: [
      {
        file: built('bus/bus-codec'),
        search: 'if (!timingSafeEqual(this.#mac(channel, bytes), bytes.subarray(macAt, lengthAt)))',
        replacement: 'if (!timingSafeEqual(bytes, bytes))',
      },
      {
        file: built('bus/bus-redis-publisher'),
        search: 'const name = nameOf(this.#redis, channel);\n        try {',
        replacement: `const name = nameOf(this.#redis, channel);
        try {
            if (Math.random() < 0.05) {
                const forged = Buffer.from(bytes.toString('latin1').replace(/"text":"./, '"text":"~'), 'latin1');
                forged.fill(7, 1, 9);
                await this.#redis.command(name, ['SPUBLISH', name, forged]);
            }`,
      },
    ],
    breaks: ['A3', 'A6'],
    shownBy: { faults: calm, count: 3 },
  },
  {
    name: 'no-reordering',
    about: 'a change that arrives early is delivered at once, and the changes before it are dropped',
    edits: [
      {
        file: built('delivery/feed'),
        search: 'if (change.seq === this.#next) {',
        replacement: 'if (this.#next !== undefined) {',
      },
    ],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F12', 'F5'], count: 6 },
  },
  {
    name: 'lower-seqs-not-dropped',
    about: 'a delivered change is delivered again when it arrives by another path',
    edits: [
      {
        file: built('delivery/feed'),
        search: 'if (this.#next !== undefined && change.seq < this.#next)\n            return;',
        replacement:
          'if (this.#next !== undefined && change.seq < this.#next) {\n            this.#outgoing.push(change);\n            this.#host.schedule(this);\n            return;\n        }',
      },
    ],
    breaks: ['A5', 'A8'],
    shownBy: { faults: ['F12', 'F5'], count: 6 },
  },
  {
    name: 'no-sweep',
    about: 'the sweep repairs nothing: a lost last change stays lost',
    edits: [
      {
        file: built('delivery/sweeper'),
        search: 'if (feeds.demand(conversation, seq))',
        replacement: 'if (conversation === undefined && feeds.demand(conversation, seq))',
      },
    ],
    breaks: ['A7', 'A13'],
    shownBy: { faults: ['F4', 'F12', 'F5'], count: 4 },
  },
  {
    name: 'sweep-jumps-ahead',
    about: 'the next sweep starts too far after the newest transaction seen and skips the writers in between',
    edits: [
      {
        file: built('log/sweep-changes'),
        search: 'Math.max(before.next, storedNext)',
        replacement: '200 + Math.max(before.next, storedNext)',
      },
    ],
    breaks: ['A7', 'A13'],
    shownBy: { faults: ['F4', 'F12'], count: 8, rate: 60 },
  },
  {
    name: 'checkpoint-before-data',
    about: 'a checkpoint covers changes that are not sent to the connection yet',
    edits: [
      {
        file: built('delivery/sweeper'),
        search: 'encodeCursor(position)',
        replacement: 'encodeCursor(position + 50)',
      },
    ],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F16', 'F13', 'F1'], count: 8 },
  },
  {
    name: 'join-forgets-what-passed',
    about: 'a joined connection misses the changes between its read and its subscription',
    edits: [
      {
        file: built('delivery/feed'),
        search: 'if (seq < this.#flushed) {',
        replacement: 'if (seq < this.#flushed - 1e9) {',
      },
      {
        file: built('delivery/feed'),
        search: 'if (seq < this.#base)',
        replacement: 'if (seq < this.#base - 1e9)',
      },
    ],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F16', 'F13', 'F1'], count: 8, rate: 400 },
  },
  {
    name: 'join-repeats-what-was-read',
    about: 'a connection that joined ahead of the flushed changes receives them again',
    edits: [
      {
        file: built('delivery/feed'),
        search: 'this.#ahead.set(join.connection, seq);',
        replacement: '',
      },
    ],
    breaks: ['A5'],
    shownBy: { faults: ['F16', 'F13', 'F1'], count: 8, rate: 400 },
  },
  {
    name: 'resume-skips-one',
    about: 'a resume starts one change too late',
    edits: [
      {
        file: built('catch-up/replay'),
        search: 'after: boundary }',
        replacement: 'after: boundary + 1 }',
      },
    ],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F16', 'F13'], count: 3 },
  },
  {
    name: 'removal-not-followed',
    about: 'a removed member’s connections stay subscribed',
    edits: [
      {
        file: built('delivery/feed'),
        search: 'return leaving;',
        replacement: 'return [];',
      },
    ],
    breaks: ['A12'],
    shownBy: { faults: calm, count: 8, rate: 400 },
  },
  {
    name: 'replay-without-membership',
    about: 'a resume replays conversations from which the user was removed',
    edits: [
      {
        file: built('catch-up/replay'),
        search: 'if (leftSeq !== null)\n        return',
        replacement: 'if (leftSeq !== null && leftSeq < 0)\n        return',
      },
      {
        file: built('connections/open-connection'),
        search: 'const left = joining?.join.left;\n',
        replacement: 'const left = undefined;\n',
      },
    ],
    breaks: ['A12'],
    shownBy: { faults: ['F16', 'F13'], count: 6, rate: 400 },
  },
  {
    name: 'revocation-closes-nothing',
    about: 'a revoked session is refused for new connections, but its open connections stay',
    edits: [{ file: built('start/start-delivery'), search: 'gate.revoke(sessions);', replacement: '' }],
    breaks: ['A12'],
    shownBy: { faults: ['F18'], count: 6 },
  },
  {
    name: 'crash-without-redis',
    about: 'a failed publish is an uncaught error',
    edits: [
      {
        file: built('bus/bus-redis-publisher'),
        search: "catch {\n            this.#observer.dropped('failed', 1);",
        replacement:
          "catch (error) {\n            setImmediate(() => { throw error; });\n            this.#observer.dropped('failed', 1);",
      },
    ],
    breaks: ['A17'],
    shownBy: { faults: ['F4', 'F11'], count: 3 },
  },
]
