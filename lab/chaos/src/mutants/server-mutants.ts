/**
 * Bugs that are added to the server one at a time, to test the checker. They are in the order of a
 * message's path: store, publish, deliver, resume, watch.
 */
import type { Mutant } from './mutant.ts'

/**
 * A fault with hardly any effect, for mutants that need no fault. It is needed because members join
 * and leave, and clients restart, only while faults are injected.
 */
const calm = ['F5']

/** Result of storing a message, for a bug that reports success without storing it. */
const storedForCertain = "{ outcome: 'stored', seq: 1, at: new Date().toISOString(), xid: 0, detail: null }"

const mutants: readonly Omit<Mutant, 'package'>[] = [
  {
    name: 'acknowledge-before-durable',
    about: 'commits are acknowledged before they are on disk, and a crash of Postgres loses the last ones',
    edits: [{ kind: 'code', in: 'settings.synchronous_commit', find: "'on'", becomes: "'off'" }],
    breaks: ['A1', 'A6', 'A7', 'A8', 'A13'],
    shownBy: { faults: ['F8'], count: 8, rate: 400 },
  },
  {
    name: 'acknowledge-at-deadline',
    about: 'the sender gets a success when the database does not answer in time',
    edits: [
      {
        kind: 'code',
        find: "waiting.reject(refusal(mayBeStored ? 'unknown' : 'unavailable', error))",
        becomes: `waiting.resolve(${storedForCertain})`,
      },
      { kind: 'code', find: 'waiting.reject(refusal(code))', becomes: `waiting.resolve(${storedForCertain})` },
    ],
    breaks: ['A1', 'A6'],
    shownBy: { faults: ['F8', 'F9', 'F11', 'F18'], count: 6 },
  },
  {
    name: 'announce-before-commit',
    about: 'a message is delivered before it is stored, with a guessed seq',
    edits: [
      {
        kind: 'code',
        in: 'storeMessage',
        find: '$appended = await parts.log.append($send)',
        becomes: `const guess = (parts.feeds.get($send.conversation)?.recent.newestSeq ?? 0) + 1
          const early = new Date().toISOString()
          parts.feeds.announce([encodeSentMessage(0, early, toStoredMessage($send, guess, early))])
          $appended = await parts.log.append($send)`,
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
        kind: 'sql',
        in: 'append_changes',
        find: 'then k.seq + count(*)',
        becomes: 'then k.seq + (extract(milliseconds from v_now)::bigint % 50 = 0)::int + count(*)',
      },
      {
        kind: 'sql',
        in: 'append_send',
        find: 'v_seq := v_top_seq + 1',
        becomes: 'v_seq := v_top_seq + 1 + (extract(milliseconds from clock_timestamp())::bigint % 50 = 0)::int',
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
        kind: 'sql',
        in: 'append_changes',
        find: 'c.client_id = u.client_id',
        becomes: 'c.client_id = u.client_id and false',
      },
      {
        kind: 'sql',
        in: 'append_send',
        find: 'c.client_id = p_client_id',
        becomes: 'c.client_id = p_client_id and false',
      },
      { kind: 'sql', find: 'create unique index changes_client_id', becomes: 'create index changes_client_id' },
    ],
    breaks: ['A4', 'A6'],
    shownBy: { faults: ['F9'], count: 10, rate: 400 },
  },
  {
    name: 'refused-after-commit',
    about: 'after a lost COMMIT the sender is told, without a check, that nothing was stored',
    edits: [
      {
        kind: 'code',
        find: 'mayBeStored = true',
        becomes: `for (const waiting of rows) waiting.reject(refusal('unavailable', error))
          return`,
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
        kind: 'sql',
        in: 'append_changes',
        find: "when m.user_id is null then 'not-found'",
        becomes: "when false then 'not-found'",
      },
      {
        kind: 'sql',
        in: 'append_send',
        find: 'elsif not exists (select from members',
        becomes: 'elsif false and not exists (select from members',
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
        kind: 'code',
        in: 'LatestPageCache',
        find: '$pages.has($conversation) ? $read.get($conversation) : $known.get($conversation)',
        becomes: '$known.get($conversation) ?? $read.get($conversation)',
      },
    ],
    breaks: ['A11'],
    shownBy: { faults: calm, count: 8, rate: 300 },
  },
  {
    name: 'page-without-membership',
    about: 'former members get pages of history',
    edits: [
      { kind: 'sql', in: 'readMessagePage', find: 'and m.left_seq is null', becomes: '' },
      { kind: 'sql', in: 'readNewestPages', find: 'and m.left_seq is null', becomes: '' },
    ],
    breaks: ['A12'],
    shownBy: { faults: calm, count: 8, rate: 400 },
  },
  {
    name: 'body-corrupted-on-the-bus',
    about: 'the body of a hint loses one byte and is patched up',
    edits: [
      {
        kind: 'code',
        in: 'toChanges.json',
        find: "$body.toString('utf8', $start, $end)",
        becomes: `$body.toString('utf8', $start, $end).replace('"text":"', '"text":"~')`,
      },
    ],
    breaks: ['A3', 'A6'],
    shownBy: { faults: calm, count: 3 },
  },
  {
    name: 'cut-means-not-stored',
    about: 'a connection that ends while a batch is committed counts as a certain refusal',
    edits: [{ kind: 'start', in: 'classifyDatabaseError', add: 'wasSent = false' }],
    breaks: ['A14', 'A2'],
    shownBy: { faults: ['F8', 'F9'], count: 8, rate: 400 },
  },
  {
    name: 'forged-hints-believed',
    about: 'the HMAC of hints is not checked, while forged hints are published',
    edits: [
      { kind: 'code', in: 'BusCodec.decode', find: '!timingSafeEqual($expected, $given)', becomes: 'false' },
      {
        kind: 'code',
        in: 'BusPublisher',
        find: "await $redis.command($name, ['SPUBLISH', $name, $bytes])",
        becomes: `if (Math.random() < 0.05) {
            const forged = Buffer.from($bytes.toString('latin1').replace(/"text":"./, '"text":"~'), 'latin1')
            forged.fill(7, 1, 9)
            await $redis.command($name, ['SPUBLISH', $name, forged])
          }
          await $redis.command($name, ['SPUBLISH', $name, $bytes])`,
      },
    ],
    breaks: ['A3', 'A6'],
    shownBy: { faults: calm, count: 3 },
  },
  {
    name: 'no-reordering',
    about: 'a change that arrives early is delivered at once, and the changes before it are dropped',
    edits: [{ kind: 'code', in: 'Feed.accept', find: 'change.seq === $next', becomes: '$next !== undefined' }],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F12', 'F5'], count: 6 },
  },
  {
    name: 'lower-seqs-not-dropped',
    about: 'a delivered change is delivered again when it arrives by another path',
    edits: [
      {
        kind: 'code',
        in: 'Feed.accept',
        find: 'if ($next !== undefined && change.seq < $next) return',
        becomes: `if ($next !== undefined && change.seq < $next) {
            this.#outgoing.push(change)
            this.#host.schedule(this)
            return
          }`,
      },
    ],
    breaks: ['A5', 'A8'],
    shownBy: { faults: ['F12', 'F5'], count: 6 },
  },
  {
    name: 'no-sweep',
    about: 'the sweep repairs nothing: a lost last change stays lost',
    edits: [{ kind: 'code', in: 'Sweeper', find: '$swept.conversations', becomes: 'new Map()' }],
    breaks: ['A7', 'A13'],
    shownBy: { faults: ['F4', 'F12', 'F5'], count: 4 },
  },
  {
    name: 'sweep-jumps-ahead',
    about: 'the next sweep starts too far after the newest transaction seen and skips the writers in between',
    edits: [
      {
        kind: 'code',
        in: 'placeAfter',
        find: 'Math.max($before.next, $stored)',
        becomes: '200 + Math.max($before.next, $stored)',
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
        kind: 'code',
        in: 'Sweeper',
        find: '$options.encodeCursor($position)',
        becomes: '$options.encodeCursor($position + 50)',
      },
    ],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F16', 'F13', 'F1'], count: 8 },
  },
  {
    name: 'join-forgets-what-passed',
    about: 'a joined connection misses the changes between its read and its subscription',
    edits: [
      { kind: 'code', in: 'Feed.finishJoin', find: 'seq < this.#flushedSeq', becomes: 'false' },
      { kind: 'code', in: 'Feed.finishJoin', find: 'seq < this.#baseSeq', becomes: 'false' },
    ],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F16', 'F13', 'F1'], count: 8, rate: 400 },
  },
  {
    name: 'join-repeats-what-was-read',
    about: 'a connection that joined ahead of the flushed changes receives them again',
    edits: [{ kind: 'code', in: 'Feed.finishJoin', find: 'this.#ahead.set($connection, $seq)', becomes: 'void 0' }],
    breaks: ['A5'],
    shownBy: { faults: ['F16', 'F13', 'F1'], count: 8, rate: 400 },
  },
  {
    name: 'resume-skips-one',
    about: 'a resume starts one change too late',
    edits: [{ kind: 'code', in: 'planStep.after', find: 'boundary', becomes: 'boundary + 1' }],
    breaks: ['A7', 'A8', 'A13'],
    shownBy: { faults: ['F16', 'F13'], count: 3 },
  },
  {
    name: 'removal-not-followed',
    about: 'a removed member’s connections stay subscribed',
    edits: [{ kind: 'code', in: 'Feed', find: 'return leaving', becomes: 'return []' }],
    breaks: ['A12'],
    shownBy: { faults: calm, count: 8, rate: 400 },
  },
  {
    name: 'replay-without-membership',
    about: 'a resume replays conversations from which the user was removed',
    edits: [
      { kind: 'code', in: 'planStep', find: 'leftSeq !== null', becomes: 'false' },
      { kind: 'code', in: 'Replay', find: 'joining?.join.left', becomes: 'undefined' },
    ],
    breaks: ['A12'],
    shownBy: { faults: ['F16', 'F13'], count: 6, rate: 400 },
  },
  {
    name: 'revocation-closes-nothing',
    about: 'a revoked session is refused for new connections, but its open connections stay',
    edits: [{ kind: 'start', in: 'ConnectionGate.revoke', add: 'return' }],
    breaks: ['A12'],
    shownBy: { faults: ['F18'], count: 6 },
  },
  {
    name: 'crash-without-redis',
    about: 'a failed publish is an uncaught error',
    edits: [
      {
        kind: 'code',
        in: 'BusPublisher',
        find: "$observer.dropped('failed', 1)",
        becomes: `setImmediate(() => {
            throw new Error('unable to publish')
          })
          $observer.dropped('failed', 1)`,
      },
    ],
    breaks: ['A17'],
    shownBy: { faults: ['F4', 'F11'], count: 3 },
  },
]

export const serverMutants: readonly Mutant[] = mutants.map((mutant) => ({ ...mutant, package: 'server' }))
