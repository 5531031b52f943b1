/** Mutants of the SDK: of its outbox, its copy of the log and its store. */
import type { Mutant } from './mutant.ts'

/**
 * A fault with hardly any effect. It gives the run time in which members join and leave and clients
 * restart.
 */
const calm = ['F5']

const built = (path: string): string => `packages/client/dist/${path}.js`

export const clientMutants: readonly Mutant[] = [
  {
    name: 'new-identity-at-each-retry',
    about: 'a retry has a new clientId, so the server cannot recognize it',
    edits: [
      {
        file: built('conversation/outbox'),
        search: 'await this.#options.send(record);',
        replacement:
          'await this.#options.send(record.status.attempts > 0 ? { ...record, clientId: createClientId() } : record);',
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
        file: built('conversation/outbox'),
        search: '#head(conversation) {\n        for (const entry of this.#entries.values()) {',
        replacement: '#head(conversation) {\n        for (const entry of [...this.#entries.values()].reverse()) {',
      },
    ],
    breaks: ['A9'],
    shownBy: { faults: ['F8', 'F16'], count: 3, rate: 400 },
  },
  {
    name: 'outbox-gives-up',
    about: 'the outbox fails a message at the first response that is not an acknowledgement',
    edits: [
      {
        file: built('conversation/outbox'),
        search: "if (error.retry === 'never' && error.code !== 'unauthenticated') {",
        replacement: "if (error.code !== 'unauthenticated') {",
      },
    ],
    breaks: ['A14'],
    shownBy: { faults: ['F8', 'F1'], count: 4 },
  },
  {
    name: 'store-behind-the-callback',
    about: 'the store records one change less than the application received',
    edits: [
      {
        file: built('conversation/replica'),
        search: 'appliedSeq,\n                ...(unreadAsOfSeq',
        replacement: 'appliedSeq: Math.max(0, appliedSeq - 1),\n                ...(unreadAsOfSeq',
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
        file: built('conversation/replica'),
        search: 'appliedSeq,\n                ...(unreadAsOfSeq',
        replacement: 'appliedSeq: appliedSeq + 1,\n                ...(unreadAsOfSeq',
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
        file: built('model/timeline'),
        search: 'if (to <= this.#appliedSeq)\n                continue;',
        replacement:
          'if (to <= this.#appliedSeq) {\n                applied.push(change);\n                continue;\n            }',
      },
    ],
    breaks: ['A5', 'A8'],
    shownBy: { faults: ['F16', 'F13'], count: 4 },
  },
  {
    name: 'gaps-passed-over',
    about: 'a resume starts from a cursor that covers unapplied changes, and the gap is ignored',
    edits: [
      {
        file: built('model/timeline'),
        search: 'if (from > this.#appliedSeq + 1)\n                this.#hold(change, from);',
        replacement: 'if (from > this.#appliedSeq + 1e9)\n                this.#hold(change, from);',
      },
      {
        file: built('conversation/replica'),
        search: "case 'changes':\n                this.#takeChanges(event.payload);",
        replacement:
          "case 'changes':\n                if (Math.random() < 0.002)\n                    return;\n                this.#takeChanges(event.payload);",
      },
    ],
    breaks: ['A8'],
    shownBy: { faults: calm, count: 8 },
  },
]
