/** Finds pieces of SQL. Comments, white space and the case of letters make no difference. */
export interface SqlMatch {
  readonly start: number
  readonly end: number
}

interface Token extends SqlMatch {
  readonly text: string
}

const skipped = /^(?:\s|--|\/\*)/
const tokens = /--[^\n]*|\/\*[\s\S]*?\*\/|\s+|'(?:[^']|'')*'|[a-z_]\w*|\d+|[^\s\w]|\S/gi

function tokenize(text: string): Token[] {
  return [...text.matchAll(tokens)]
    .filter(([token]) => !skipped.test(token))
    .map((match) => {
      const [token] = match
      return { start: match.index, end: match.index + token.length, text: fold(token) }
    })
}

const fold = (token: string): string => (token.startsWith("'") ? token : token.toLowerCase())

/** Returns each place of the text that has the same SQL tokens as the pattern. */
export function findSql(text: string, pattern: string): SqlMatch[] {
  const wanted = tokenize(pattern)
  const all = tokenize(text)
  return all.flatMap(({ start }, index) => {
    const last = all[index + wanted.length - 1]
    const isSame = wanted.every((token, offset) => token.text === all[index + offset]?.text)
    return isSame && last !== undefined ? [{ start, end: last.end }] : []
  })
}
