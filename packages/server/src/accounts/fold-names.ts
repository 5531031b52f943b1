/**
 * Stores the folded form (one case, one Unicode form) of user and channel names, which the search
 * compares (rule NAME1). The database records every name whose folded form is missing. A server
 * folds a name right after storing it. At intervals it also folds names that are still missing, for
 * example those stored by a server of the previous version.
 */
import type { Id } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import { foldName } from '../support/fold-text.ts'
import type { Database } from '../database/database.ts'

const foldingLimits = {
  everyMs: 10_000,
  batchMax: 500,
  /** Maximum number of batches in one run. Remaining names wait for the next run. */
  batchesMax: 100,
  /** Maximum time that a command waits until the folded form of its name is stored. */
  patienceMs: 500,
} as const

/**
 * Appended to a prefix, gives the upper bound of a search by that prefix: in byte order it sorts
 * after every text.
 */
export const afterPrefix = '\u{10ffff}'

export interface SearchedName {
  readonly owner: Id
  readonly name: string
}

/**
 * Folds the name of one user or channel, best effort. If this fails, any server folds the name
 * later.
 */
export async function foldNameOf(database: Database, owner: Id, name: string): Promise<void> {
  await storeFolds(database, [{ owner, name }], foldingLimits.patienceMs).catch(() => undefined)
}

/** Folds the names of these users, best effort like {@link foldNameOf}. */
export async function foldNamesOf(database: Database, names: readonly SearchedName[]): Promise<void> {
  if (names.length === 0) return
  await storeFolds(database, names, foldingLimits.patienceMs).catch(() => undefined)
}

/** Folds the names whose folded form is missing, and returns their number. */
export async function foldNames(database: Database, isStopped: () => boolean = () => false): Promise<number> {
  const { batchMax, batchesMax } = foldingLimits
  let folded = 0
  for (let batch = 0; batch < batchesMax && !isStopped(); batch++) {
    const names = await database.query<SearchedName>({
      name: 'read_unfolded_names',
      text: 'select owner, name from searched_names where folded is null order by owner limit $1',
      values: [batchMax],
    })
    if (names.length > 0) folded += await storeFolds(database, names)
    if (names.length < batchMax) break
  }
  return folded
}

async function storeFolds(database: Database, names: readonly SearchedName[], timeoutMs?: number): Promise<number> {
  const [row] = await database.query<{ n: number }>({
    name: 'fold_names',
    text: 'select fold_names($1::uuid[], $2::text[], $3::text[]) as n',
    values: [names.map(({ owner }) => owner), names.map(({ name }) => name), names.map(({ name }) => foldName(name))],
    ...(timeoutMs !== undefined && { timeoutMs }),
  })
  return row?.n ?? 0
}

/** Starts to fold names, at once and then at intervals. Returns a function that stops the timer. */
export function keepNamesFolded(database: Database, clock: Clock, onProblem: (problem: unknown) => void): () => void {
  let isStopped = false
  let timer: Timer = clock.setTimer(run, 0)
  return () => {
    isStopped = true
    timer.cancel()
  }

  function run(): void {
    foldNames(database, () => isStopped)
      .catch(onProblem)
      .finally(() => {
        if (!isStopped) timer = clock.setTimer(run, foldingLimits.everyMs)
      })
  }
}
