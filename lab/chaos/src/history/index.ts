/** The history of a chaos run: the events that the workload writes and the checker reads. */
export { nowMicros } from './clock.ts'
export type * from './events.ts'
export { kindOf } from './events.ts'
export { hashText } from './hash-text.ts'
export { HistoryWriter } from './history-writer.ts'
export { readHistory } from './read-history.ts'
