/**
 * Ranks how well a name matches a search text: equal to it, begins with it, has a word that begins
 * with it, or contains it. Enter chooses the first option of a list, so the best match must come
 * first. Ignores case and accents. Pure.
 */
export const ranks = ['exact', 'prefix', 'word', 'contains', 'none'] as const
export type Rank = (typeof ranks)[number]

/** Returns a number by which ranks can be sorted. Lower is better. */
export function orderOf(rank: Rank): number {
  return ranks.indexOf(rank)
}

export function rankMatch(name: string, query: string): Rank {
  const wanted = fold(query)
  if (wanted === '') return 'prefix'
  const text = fold(name)
  if (text === wanted) return 'exact'
  if (text.startsWith(wanted)) return 'prefix'
  let found: Rank = 'none'
  for (let at = text.indexOf(wanted); at !== -1; at = text.indexOf(wanted, at + 1)) {
    if (!isLetter.test(text.slice(0, at))) return 'word'
    found = 'contains'
  }
  return found
}

/** Returns the best rank of the names of one person or thing, such as a name and a handle. */
export function rankBest(names: readonly string[], query: string): Rank {
  return names
    .map((name) => rankMatch(name, query))
    .reduce((best, rank) => (orderOf(rank) < orderOf(best) ? rank : best), 'none' as Rank)
}

/** Matches text that ends with a letter, a digit or an accent. */
const isLetter = /[\p{L}\p{N}\p{M}]$/u

function fold(text: string): string {
  return text.trim().normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replace(/\s+/g, ' ')
}
