/**
 * Bugs that are added to the client library one at a time, to test the checker: bugs of its outbox,
 * of its local messages and of its store.
 */
import type { Mutant } from './mutant.ts'

/**
 * A fault with hardly any effect, for mutants that need no fault. It is needed because members join
 * and leave, and clients restart, only while faults are injected.
 */
const calm = ['F5']

const mutants: readonly Omit<Mutant, 'package'>[] = [
  {
    name: 'new-identity-at-each-retry',
    about: 'a retry has a new clientId, so the server cannot recognize it',
    edits: [
      {
        kind: 'code',
        in: 'Outbox',
        find: '$options.send(record)',
        becomes: '$options.send(record.status.attempts > 0 ? { ...record, clientId: createClientId() } : record)',
      },
    ],
    breaks: ['A1', 'A4'],
    shownBy: { faults: ['F1', 'F8', 'F9'], count: 6 },
  },
  {
    name: 'outbox-sends-newest-first',
    about: 'the outbox sends the newest message first',
    edits: [
      {
        kind: 'code',
        in: 'Outbox.#head',
        find: '$entries.values()',
        becomes: 'Array.from($entries.values()).reverse()',
      },
    ],
    breaks: ['A9'],
    shownBy: { faults: ['F8', 'F16'], count: 3, rate: 400 },
  },
  {
    name: 'outbox-gives-up',
    about: 'the outbox fails a message at the first response that is not an acknowledgement',
    edits: [{ kind: 'code', in: 'Outbox', find: "error.retry === 'never'", becomes: 'true' }],
    breaks: ['A14'],
    shownBy: { faults: ['F8', 'F1'], count: 4 },
  },
  {
    name: 'store-behind-the-callback',
    about: 'the store records one change less than the application received',
    edits: [
      {
        kind: 'code',
        find: '({ id, summary, appliedSeq, ...$rest })',
        becomes: '({ id, summary, appliedSeq: Math.max(0, appliedSeq - 1), ...$rest })',
      },
    ],
    breaks: ['A5'],
    shownBy: { faults: calm, count: 8 },
  },
  {
    name: 'store-ahead-of-the-callback',
    about: 'the store records a change that the application did not receive',
    edits: [
      {
        kind: 'code',
        find: '({ id, summary, appliedSeq, ...$rest })',
        becomes: '({ id, summary, appliedSeq: appliedSeq + 1, ...$rest })',
      },
    ],
    breaks: ['A8', 'A13'],
    shownBy: { faults: calm, count: 8 },
  },
  {
    name: 'resume-repeats-to-the-application',
    about: 'changes repeated by a resume are given to the application again',
    edits: [
      {
        kind: 'code',
        in: 'Timeline.applyChanges',
        find: 'if (to <= $applied) continue',
        becomes: `if (to <= $applied) {
            applied.push(change)
            continue
          }`,
      },
    ],
    breaks: ['A5', 'A8'],
    shownBy: { faults: ['F16', 'F13'], count: 4 },
  },
  {
    name: 'gaps-passed-over',
    about: 'a resume starts from a cursor that covers unapplied changes, and the gap is ignored',
    edits: [
      { kind: 'code', in: 'Timeline.applyChanges', find: 'from > $applied + 1', becomes: 'false' },
      { kind: 'start', in: 'Timeline.applyChanges', add: 'if (Math.random() < 0.002) changes = []' },
    ],
    breaks: ['A8'],
    shownBy: { faults: calm, count: 8 },
  },
]

export const clientMutants: readonly Mutant[] = mutants.map((mutant) => ({ ...mutant, package: 'client' }))
