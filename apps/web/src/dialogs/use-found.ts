/** Asks the server while somebody types: after a short pause, only for the newest text, and answers in order. */
import { useEffect, useState } from 'react'

const pauseMs = 150

export interface Found<Result> {
  readonly results: readonly Result[]
  readonly state: 'idle' | 'searching' | 'done' | 'failed'
}

export function useFound<Result>(query: string, search: (query: string) => Promise<readonly Result[]>): Found<Result> {
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
  return found
}
