/**
 * Searches the server while the user types. A search starts after a short pause in typing. Its
 * response is ignored if the text has changed since.
 */
import type { Conversation, User } from '@chorus/client'
import { useEffect, useState } from 'react'
import { orderOf, rankBest, rankMatch, type Rank } from './rank-match.ts'

const pauseMs = 150

export interface Found<Result> {
  readonly results: readonly Result[]
  readonly state: 'idle' | 'searching' | 'done' | 'failed'
}

/**
 * Returns the search results for a text. Until the results arrive, returns the results for the
 * previous text that pass `seemsToMatch`, so that Enter never chooses an unrelated result.
 */
export function useFound<Result>(
  query: string,
  search: (query: string) => Promise<readonly Result[]>,
  seemsToMatch: (result: Result, query: string) => boolean,
): Found<Result> {
  const [found, setFound] = useState<Found<Result> & { readonly query?: string }>({ results: [], state: 'idle' })
  useEffect(() => {
    let isWanted = true
    setFound(({ results }) => ({ results, state: 'searching', query }))
    const timer = setTimeout(
      () => {
        search(query).then(
          (results) => isWanted && setFound({ results, state: 'done', query }),
          () => isWanted && setFound({ results: [], state: 'failed', query }),
        )
      },
      query === '' ? 0 : pauseMs,
    )
    return () => {
      isWanted = false
      clearTimeout(timer)
    }
  }, [query, search])
  // In the first render after a key press, `found` still contains the results for the previous
  // text.
  if (found.state !== 'searching' && found.query === query) return found
  return { results: found.results.filter((result) => seemsToMatch(result, query)), state: 'searching' }
}

export function rankPerson({ name, handle }: Pick<User, 'name' | 'handle'>, query: string): Rank {
  return rankBest([name, handle], query.replace(/^@/, ''))
}

export function rankChannel({ name }: Pick<Conversation, 'name'>, query: string): Rank {
  return rankMatch(name ?? '', query.replace(/^#/, ''))
}

export function personSeemsToMatch(user: User, query: string): boolean {
  return rankPerson(user, query) !== 'none'
}

export function channelSeemsToMatch(channel: Conversation, query: string): boolean {
  return rankChannel(channel, query) !== 'none'
}

/**
 * Sorts search results by rank, best first. Results of equal rank keep their order. Results that
 * this device cannot match to the text come last.
 */
export function byRank<Result>(results: readonly Result[], rank: (result: Result) => Rank): readonly Result[] {
  return results
    .map((result) => ({ result, order: orderOf(rank(result)) }))
    .sort((left, right) => left.order - right.order)
    .map(({ result }) => result)
}
