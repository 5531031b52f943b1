import { describe, expect, it } from 'vitest'
import { rankBest, rankMatch, type Rank } from './rank-match.ts'

describe('[FIND1] the rank of a search result', () => {
  it.each<[string, string, Rank]>([
    ['Grace Hopper', 'grace hopper', 'exact'],
    ['Grace Hopper', 'GRACE', 'prefix'],
    ['Grace Hopper', 'hop', 'word'],
    ['Friends of Grace', 'grace', 'word'],
    ['Disgraceful jokes', 'grace', 'contains'],
    ['Disgraceful grace', 'grace', 'word'],
    ['Ada Lovelace', 'grace', 'none'],
    ['Group number 7', 'group number 7', 'exact'],
    ['Group number 70', 'group number 7', 'prefix'],
    ['release-notes', 'notes', 'word'],
    ['#general', 'general', 'word'],
    ['Élodie', 'elodie', 'exact'],
    ['Elodie', 'é', 'prefix'],
    ['E\u0301lodie', 'élo', 'prefix'],
    ['Ünal', 'un', 'prefix'],
    ['Two  spaces', ' two spaces ', 'exact'],
    ['日本語', '本', 'contains'],
    ['anything', '  ', 'prefix'],
    ['(a+b)*', '(a+', 'prefix'],
  ])('[FIND1] name %j for query %j has rank %s', (name, query, rank) => expect(rankMatch(name, query)).toBe(rank))

  it('[FIND1] a person with several names gets the rank of the best match', () => {
    expect(rankBest(['Grace Hopper', 'amazing_grace'], 'amazing')).toBe('prefix')
    expect(rankBest(['Grace Hopper', 'grace'], 'grace')).toBe('exact')
    expect(rankBest([], 'grace')).toBe('none')
  })
})
