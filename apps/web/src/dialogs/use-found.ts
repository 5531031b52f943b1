/** Asks the server while somebody types: after a short pause, only for the newest text, and answers in order. */
import type { Conversation, User } from '@chorus/client'
import { useEffect, useState } from 'react'

const pauseMs = 150

export interface Found<Result> {
  readonly results: readonly Result[]
  readonly state: 'idle' | 'searching' | 'done' | 'failed'
}

/** `seemsToMatch` thins out the old answers until the new ones are there, so that Enter never chooses what nobody asked for. */
export function useFound<Result>(
  query: string,
  search: (query: string) => Promise<readonly Result[]>,
  seemsToMatch: (result: Result, query: string) => boolean,
): Found<Result> {
  const [found, setFound] = useState<Found<Result>>({ results: [], state: 'idle' })
  useEffect(() => {
    let isWanted = true
    setFound(({ results }) => ({ results, state: 'searching' }))
    const timer = setTimeout(
      () => {
        search(query).then(
          (results) => isWanted && setFound({ results, state: 'done' }),
          () => isWanted && setFound({ results: [], state: 'failed' }),
        )
      },
      query === '' ? 0 : pauseMs,
    )
    return () => {
      isWanted = false
      clearTimeout(timer)
    }
  }, [query, search])
  if (found.state !== 'searching') return found
  return { results: found.results.filter((result) => seemsToMatch(result, query)), state: 'searching' }
}

export function personSeemsToMatch({ name, handle }: User, query: string): boolean {
  const wanted = query.toLocaleLowerCase()
  return name.toLocaleLowerCase().startsWith(wanted) || handle.toLocaleLowerCase().startsWith(wanted)
}

export function channelSeemsToMatch({ name }: Conversation, query: string): boolean {
  return (name ?? '').toLocaleLowerCase().includes(query.toLocaleLowerCase())
}
